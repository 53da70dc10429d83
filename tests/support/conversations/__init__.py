"""Conversations to send and to compare, in the form of each dialect and of each client."""

"""What outlives a connection: stored responses, conversations and the events of background responses."""

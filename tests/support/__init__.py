"""What tests, benchmarks and the makers of documentation share: fakes, strict servers, clients, servers, conversations.

It is importable as `support` where Landline is installed for development; nothing in `src` imports it.
"""

from pathlib import Path

TESTS_FOLDER = Path(__file__).resolve().parents[1]
REPOSITORY = TESTS_FOLDER.parent

"""The management room: its commands, one file per thing that they are about."""

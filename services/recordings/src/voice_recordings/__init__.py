"""Recordings, conversations and transcripts."""

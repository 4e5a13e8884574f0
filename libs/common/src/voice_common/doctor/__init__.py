"""What ``voice doctor`` looks at: checks that packages contribute through the entry point ``voice.checks``."""

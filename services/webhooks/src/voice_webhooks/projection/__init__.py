"""From stored events to conversations: a join, in one snapshot transaction for a batch."""

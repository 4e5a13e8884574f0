"""Made-up calls as Telnyx would tell of them, and what they must come to."""

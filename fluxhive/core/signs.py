"""Which lines of a program's last output may say why it ended, and what they say together.

``find_signs`` runs on the node when an attempt has failed: it picks, from the end of each stream,
the lines worth keeping, whatever they mean. ``read_signs`` gives them a meaning; a newer server may
read the same signs again. A line counts only where nothing shows that the program went on after it:
a training that caught the error, or that only mentions it, was not ended by it. What each line says
stands in sign_words.py; whose fault it was is told in blame.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec.structs import replace

from .outcome import Sign
from .sign_words import DECISIVE, Says, says
from .values import Value

#: So much of the end of each stream is looked at.
OUTPUT_BYTES = 64 * 1024
#: So many lines of each stream are kept, so long each: the last ones decide.
SIGNS_MAX = 40
SIGN_CHARS = 600
#: A program that printed more ordinary lines than this after an error went on with its work.
LINES_AFTER_MAX = 25

STDERR, STDOUT = "stderr", "stdout"

#: Broad on purpose: a judge of another version finds its words among these.
_WORTH_KEEPING = re.compile(
    r"error|exception|fail|fatal|panic|abort|terminat|kill|signal|memory|alloc|\boom\b|exhaust"
    r"|no space|quota|xid|\becc\b|\blost\b|direct cause|during handling|what\(\)|batch size found"
    r"|\bgpu\b|cuda",
    re.IGNORECASE,
)
#: Part of a report about an error, not of a program that goes on: code, frames, tables, farewells.
_FURNITURE = re.compile(
    r"\s|Traceback|frame #|#\d+ |\|[=-]|\||={3,}|-{3,}|\*{3,}|\^|wandb:|\d{6,} |[0-9a-fx]{8,}"
    r"|(?:\[rank\d+\]|\[default\d+\]|\(\w+(?: pid=\d+)?\))[: ]*(?:\s|$|Traceback|\^)|Exception rais"
)
#: In front of what one process of several prints: torchrun, vLLM, Ray.
_RANK = re.compile(
    r"\s*(?:\[(?:rank|default)(?P<rank>\d+)\]:? ?|\((?P<name>\w+)(?:[ _][A-Z]+\d+)*(?: pid=\d+)?"
    r"(?:, ip=[\d.]+)?\) )"
)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Verdict(Value, frozen=True, kw_only=True):
    """What the output says about the end; ``Says.NOTHING``: it does not say."""

    says: Says = Says.NOTHING
    #: The line that decides, and below it those before it that say the same, nearest first.
    text: str = ""


def find_signs(*, stderr: str, stdout: str) -> tuple[Sign, ...]:
    """The lines worth keeping, each stream's in its order; stderr first."""
    return (*_find(STDERR, stderr), *_find(STDOUT, stdout))


def marked(signs: Iterable[Sign], process: int) -> list[Sign]:
    """What one of several processes said, in a form that tells it from the others.

    Where the program has put its own rank in front, that stays.
    """
    return [
        sign if _RANK.match(sign.text) else replace(sign, text=f"[rank{process}]: {sign.text}")
        for sign in signs
    ]


def read_signs(signs: Iterable[Sign]) -> Verdict:
    """What ended the program, as far as its output tells.

    Processes of one program are read apart: what one of them prints later does not take back what
    another one said. Of what they say the rarest goes first (``DECISIVE``).
    """
    lanes: dict[tuple[str, str], list[tuple[Sign, str]]] = {}
    for sign in signs:
        rank, text = _without_rank(sign.text)
        lanes.setdefault((sign.stream, rank), []).append((sign, text))
    verdicts = [_read_lane(lane) for lane in lanes.values()]
    return min(verdicts, key=lambda verdict: DECISIVE.index(verdict.says), default=Verdict())


def _find(stream: str, output: str) -> list[Sign]:
    found: list[Sign] = []
    n_after = 0
    for line in reversed(re.split(r"[\r\n]+", output)):
        # What a terminal would have shown: colours are no part of the words.
        text = _ESCAPES.sub("", line[: 4 * SIGN_CHARS]).rstrip()
        if not text:
            continue
        if _WORTH_KEEPING.search(text):
            found.append(Sign(stream=stream, text=text[:SIGN_CHARS], lines_after=n_after))
            if len(found) == SIGNS_MAX:
                break
        elif _FURNITURE.match(text) is None:
            n_after += 1
    found.reverse()
    return found


def _read_lane(lane: list[tuple[Sign, str]]) -> Verdict:
    """From the last line up: the first one that decides. An error of another kind hides what is
    above it, unless it says itself that it was caused by that."""
    found: Verdict | None = None
    hidden_by: Verdict | None = None
    for sign, text in reversed(lane):
        meaning = says(text)
        if found is not None:
            if meaning is Says.GPU_OOM or meaning is found.says:
                # What a library could not name, and figures, often stand in the lines above.
                found = Verdict(says=meaning, text=f"{found.text}\n{text}")
            elif meaning is Says.OTHER_ERROR:
                break
        elif meaning is Says.CAUSED:
            hidden_by = None
        elif meaning is Says.OTHER_ERROR:
            hidden_by = hidden_by or Verdict(says=meaning, text=text)
        elif meaning in (Says.NOTHING, Says.MENTION, Says.CONSEQUENCE):
            continue
        elif hidden_by is not None:
            return hidden_by
        elif sign.lines_after <= LINES_AFTER_MAX:
            found = Verdict(says=meaning, text=text)
    return found or hidden_by or Verdict()


def _without_rank(text: str) -> tuple[str, str]:
    match = _RANK.match(text)
    if match is None:
        return "", text
    return match["rank"] or match["name"] or "", text[match.end() :]

"""Names that a language model is not to see: others stand for them in its prompts, and give way to them in its answers.

A name is found as whole words, the longest first, in any capitals, after ``#`` and ``@`` too, and with its words
joined (``Whole Foods``, ``#WholeFoods``, ``whole_foods``). Words end at ``_``, at digits and at a capital within
(``#BoycottAmazon2017``). In scripts without spaces between words
(Chinese, Thai) it is found anywhere; in Korean, whose particles follow without a space, too. The substitute has the
capitals of what was found where these are all large, all small, or as declared; other mixtures come back as declared.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import product

import pyarrow as pa
import pyarrow.compute as pc

from oasis.agents.prompting.quoting import plain
from oasis.errors import InputError

__all__ = ["MOST_NAMES", "NOTHING_RENAMED", "Renaming"]

MOST_NAMES = 100
_OF_THE_FORM = {"action", "actions", "answer", "content", "json", "n"}
"""Words by which the instructions say what an answer looks like."""
_LONGEST = 100
_JOINS = "\\s\u00a0_\\-\u2010-\u2015"
"""What may stand between the words of a name, beside nothing."""
_JOIN = re.compile(f"[{_JOINS}]+")
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003fffd"
)
"""Thai, Lao, Burmese, Khmer, Chinese, Japanese, Korean."""
_LETTER = rf"[^\W_{_UNSPACED}]"
_LARGE, _SMALL = "[A-Z\u00c0-\u00d6\u00d8-\u00de]", "[a-z\u00df-\u00f6\u00f8-\u00ff]"
_HUMP = f"(?-i:(?<={_SMALL})(?={_LARGE})|(?={_LARGE}{_SMALL}))"
"""Where a word begins within #StopTheDeal or USNews."""
_BEGINS = f"(?:(?<!{_LETTER})|(?=[{_UNSPACED}])|(?<=[0-9])(?![0-9])|{_HUMP})"
_ENDS = f"(?![\u0300-\u036f])(?:(?!{_LETTER})|(?<=[{_UNSPACED}])|(?<![0-9])(?=[0-9])|{_HUMP})"
"""A combining accent goes on with the word; a number does not."""


class Renaming:
    """Names and what stands in their places; without any, texts stay as they are.

    Parameters
    ----------
    names : mapping of str to str
        Name to substitute; a ``#`` or ``@`` before either does not count.

    Raises
    ------
    ValueError
        If it is no bijection of names that can be told apart in texts; the message says which, and what to do.

    Examples
    --------
    >>> renaming = Renaming({"Whole Foods": "Green Barn", "Amazon": "Norvex"})
    >>> renaming.forward("AMAZON buys #WholeFoods, says @amazon.")
    'NORVEX buys #GreenBarn, says @norvex.'
    >>> renaming.inverse("NORVEX buys #GreenBarn, says @norvex.")
    'AMAZON buys #WholeFoods, says @amazon.'
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        pairs = {_bare(name): _bare(other) for name, other in names.items()}
        _check_each(names)
        self._there, self._back = _Way(pairs), _Way({other: name for name, other in pairs.items()})
        self._substitutes = {_key(other): other for other in pairs.values()}
        self.forward: Callable[[str], str] = lru_cache(1 << 16)(self._there.replace) if pairs else _same
        """Return a text with substitutes for names."""
        self.inverse: Callable[[str], str] = self._back.replace if pairs else _same
        """Return a text with names for substitutes."""
        self._check(pairs)

    def __bool__(self) -> bool:
        return bool(self._substitutes)

    def shown(self, texts: Iterable[str | None]) -> list[str | None]:
        """Return texts of the world, whole, as prompts are to show them: one cut before may end in half a name."""
        return [t and self.forward(plain(t)) for t in texts] if self else list(texts)

    def check_absent(self, texts: pa.Array | pa.ChunkedArray, where: str) -> None:
        """Refuse texts that hold a substitute already.

        A model would take it for what it stands for, and nobody could tell which of the two a model means that writes
        it. To exchange the two would show the model a name that it is not to see.

        Raises
        ------
        InputError
            Naming the substitute and `where`.
        """
        if not self or not len(texts):
            return
        near = texts.filter(pc.match_substring_regex(texts, self._back.loose, ignore_case=True))
        for text in near.to_pylist():
            if (found := self._back.first(text)) is not None:
                raise InputError(
                    f"rename: the substitute {self._substitutes.get(_key(found), found)!r} is in {where} already"
                    f" ({text[:60]!r}), so it would stand for two things in prompts and answers; choose another"
                )

    def _check(self, pairs: Mapping[str, str]) -> None:
        """Refuse substitutes that are names, and those that, side by side, are read as another."""
        for name, other in pairs.items():
            if (found := self._there.first(other)) is not None:
                raise ValueError(f"the substitute {other!r} of {name!r} holds the name {found!r}; choose another")
            if (found := self._back.first(name)) is not None:
                taken = self._substitutes.get(_key(found), found)
                raise ValueError(f"the name {name!r} holds the substitute {taken!r}; choose another")
        keys = {name: _key(other) for name, other in pairs.items()}
        for (a, first), (b, second) in product(keys.items(), repeat=2):
            joined = first + second
            if not any(key in joined and key not in first and key not in second for key in keys.values()):
                continue
            for text in (f"{a} {b}", f"{a}-{b}"):
                if self.inverse(self.forward(text)) != text:
                    raise ValueError(
                        f"the substitutes {pairs[a]!r} and {pairs[b]!r} side by side are read as another; "
                        "choose substitutes that do not make up one another"
                    )


class _Way:
    """One direction, compiled once."""

    def __init__(self, names: Mapping[str, str]) -> None:
        ordered = sorted(names, key=lambda name: (-len(_key(name)), name))
        self._by_key = {_key(name): (name, other) for name, other in names.items()}
        self._each = {name: _pattern(name) for name in ordered}
        self.loose = "|".join(self._each.values()) or r"\z"
        """For RE2, without the ends of words."""
        self._pattern = re.compile(f"{_BEGINS}(?:{self.loose}){_ENDS}" if names else "(?!)", re.IGNORECASE)

    def replace(self, text: str) -> str:
        return self._pattern.sub(self._other, text)

    def first(self, text: str) -> str | None:
        found = self._pattern.search(text)
        return None if found is None else found.group()

    def _other(self, match: re.Match[str]) -> str:
        found = match.group()
        pair = self._by_key.get(_key(found))
        if pair is None:  # letters whose small form is two (U+0130)
            name = next(n for n, pattern in self._each.items() if re.fullmatch(pattern, found, re.IGNORECASE))
            pair = self._by_key[_key(name)]
        name, other = pair
        words, joins = _JOIN.split(other), _JOIN.findall(found)
        if len(words) > 1 and joins != _JOIN.findall(name):
            other = (joins[0] if joins else "").join(words)
        elif len(words) > 1 and not joins and _glued(match):
            other = "".join(words)
        return _in_case(found, name, other)


def _check_each(names: Mapping[str, str]) -> None:
    if len(names) > MOST_NAMES:
        raise ValueError(f"there are {len(names)} names, at most {MOST_NAMES} can be replaced")
    taken: dict[str, str] = {}
    known: dict[str, str] = {}
    for name, other in names.items():
        for what, text in (("name", name), ("substitute", other)):
            of = f" of {name!r}" if what == "substitute" else ""
            if not any(c.isalnum() for c in text):
                raise ValueError(f"the {what} {text!r}{of} is empty: it holds no letter and no digit")
            if _key(_bare(text)) in _OF_THE_FORM:
                raise ValueError(f"the {what} {text!r}{of} is a word of the form of answers and cannot be replaced")
            if len(text) > _LONGEST:
                raise ValueError(f"the {what} {text[:40]!r}...{of} has more than {_LONGEST} characters")
            if what == "substitute" and plain(text) != text.strip():
                raise ValueError(
                    f"the substitute {text!r}{of} holds what prompts do not show; they show {plain(text)!r}"
                )
        if (twin := known.setdefault(_key(_bare(name)), name)) != name:
            raise ValueError(f"{name!r} and {twin!r} are the same name, for capitals, spaces and hyphens do not count")
        if (twin := taken.setdefault(_key(_bare(other)), name)) != name:
            raise ValueError(f"{name!r} and {twin!r} both become {other!r}; each name needs a substitute of its own")


def _same(text: str) -> str:
    return text


def _bare(name: str) -> str:
    return plain(name).strip().lstrip("#@")


def _key(text: str) -> str:
    """Return what makes a name the same: not its capitals, nor how its words are joined, nor the kind of apostrophe."""
    text = unicodedata.normalize("NFC", text).replace("\u2019", "'").casefold()
    return _JOIN.sub("", unicodedata.normalize("NFC", text))


def _pattern(name: str) -> str:
    """Return a regular expression, of Python and of RE2, for a name in all its forms but for capitals."""
    words = []
    for word in _JOIN.split(name.replace("\u2019", "'")):
        cased = (word,) if word.isascii() else (word, word.lower(), word.upper(), word.casefold())
        forms = {unicodedata.normalize(form, w) for w in cased for form in ("NFC", "NFD")}
        ordered = sorted((re.escape(w).replace("'", "['\u2019]") for w in forms), key=lambda w: (-len(w), w))
        words.append(ordered[0] if len(ordered) == 1 else f"(?:{'|'.join(ordered)})")
    return f"[{_JOINS}]{{0,3}}".join(words)


def _glued(match: re.Match[str]) -> bool:
    """Return whether what was found is part of a hashtag, a user's name or an address, which have no spaces."""
    text, begin, end = match.string, match.start(), match.end()
    before, after = text[begin - 1 : begin] if begin else "", text[end : end + 2]
    if before.isalnum() or after[:1].isalnum() or (before != "" and before in "#@_/"):
        return True
    return after[:1] in ("_", "/") or (after[:1] == "." and after[1:].isalnum())


def _in_case(found: str, name: str, other: str) -> str:
    if _JOIN.sub("", found) == _JOIN.sub("", name):
        return other
    if found.isupper():
        return other.upper()
    if found.islower():
        return other.lower()
    return other.title() if found[:1].isupper() and other.islower() else other


NOTHING_RENAMED = Renaming({})

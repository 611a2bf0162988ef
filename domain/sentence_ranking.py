"""Which sentences answer a question: BM25 over sentences (Robertson and Zaragoza, 2009), and nothing when none is relevant.

A heading, or a question in a text, says what the sentence after it is about, so its matches count for that one; those of the
section's heading and of the sentence before count a little. Everything is deterministic; ties go to the earlier source and place.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from domain.models import SourceText
from domain.sentences import sentences
from domain.terms import Terms, content_words, terms_of

_K1: Final = 1.2
_B: Final = 0.5
_CARRIED: Final = 0.6
_NEARBY: Final = 0.3
_LABEL_FACTOR: Final = 0.5
_LABEL_WORDS: Final = 6
_NEAR_BEST: Final = 0.45
"""A quote scores at least this part of the best one's score."""
_MATCHED_SHARE: Final = 0.5
_MATCHED_WEIGHT: Final = 0.2
_CENTRAL: Final = 50
_MARK_CHARACTERS: Final = 8
_SOURCE_NOUNS = """
document documents text texts file files page article upload uploads attachment dokument dokumente datei texte fichier
documento documentos texto archivo testo arquivo bestand tekst
"""
_OVERVIEW = """
summary summaries summarise summarize summarised summarized overview gist tldr zusammenfassung zusammenfassen zusammen
fasse uberblick resume resumer resumez resumen resumir riassunto riassumi riassumere resumo resuma samenvatting samenvatten
"""
_WHOLE: Final = frozenset(f"{_SOURCE_NOUNS} {_OVERVIEW}".split())
"""Words of questions about the sources as a whole."""
_LETTERS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Quote:
    """A sentence of a source: `source.text[start:end]`."""

    source: SourceText
    start: int
    end: int

    @property
    def text(self) -> str:
        """The sentence, verbatim."""
        return self.source.text[self.start : self.end]


@dataclass
class _Candidate:
    """`matches` are its own, `carried` those of the heading or question right before it, `nearby` of section and predecessor."""

    quote: Quote
    place: int
    length: int
    label: bool = False
    matches: Counter[str] = field(default_factory=Counter[str])
    carried: Counter[str] = field(default_factory=Counter[str])
    nearby: Counter[str] = field(default_factory=Counter[str])
    score: float = 0.0


@dataclass
class _Scan:
    """What one reading of all sources found."""

    total: int = 0
    words: int = 0
    frequency: Counter[str] = field(default_factory=Counter[str])
    candidates: list[_Candidate] = field(default_factory=list["_Candidate"])


def best_quotes(
    question: str, sources: Sequence[SourceText], limit: int, ignored: frozenset[str] = frozenset()
) -> tuple[Quote, ...]:
    """At most `limit` sentences that answer the question, in the order of the sources; empty when none is relevant.

    A question that asks for the documents as a whole (a summary, what they are about) gets their most central sentences.
    Sentences in `ignored`, as `fingerprint` gives them, and sentences that are questions are never chosen.
    """
    words = content_words(question)
    subject = [word for word in words if word not in _WHOLE]
    if not subject:
        return _overview(sources, limit, ignored) if words else ()
    wanted = frozenset(term for word in subject for term in terms_of(word))
    scan = _scan(sources, wanted, ignored)
    return _choose(_relevant(scan, wanted), limit)


def fingerprint(sentence: str) -> str:
    """The letters and digits of a sentence, by which two are the same whatever their quotes and spaces."""
    return _LETTERS.sub("", sentence).casefold()


def _asks(sentence: str) -> bool:
    return sentence.rstrip("\"'\u201d\u2019\u00bb)").endswith(("?", "\uff1f"))


def _is_heading(quote: Quote) -> bool:
    """Marked as one: `# Delivery`."""
    lead = quote.source.text[max(quote.start - _MARK_CHARACTERS, 0) : quote.start]
    return "#" in lead.rpartition("\n")[2]


def _is_label(quote: Quote) -> bool:
    """Reads like a heading: few words, no full stop, alone on its line."""
    text, sentence = quote.source.text, quote.text
    alone = quote.end >= len(text) or text[quote.end] == "\n"
    return (
        alone and "|" not in sentence and sentence[-1] not in ".!\u2026\u3002\uff01;," and len(sentence.split()) <= _LABEL_WORDS
    )


def _scan(sources: Sequence[SourceText], wanted: frozenset[str], ignored: frozenset[str]) -> _Scan:
    """Reads every source once; memory grows with the sentences that match."""
    terms, scan, nothing = Terms(), _Scan(), Counter[str]()
    for place, source in enumerate(sources):
        section, before, carried = nothing, nothing, nothing
        for start, end in sentences(source.text):
            found = terms.of(source.text, start, end)
            length = len(found)
            scan.total += 1
            scan.words += length
            hits = [term for term in found if term in wanted]
            matches = Counter(hits) if hits else nothing
            scan.frequency.update(matches.keys())
            quote = Quote(source, start, end)
            if _is_heading(quote):
                section = carried = matches
                before = nothing
                continue
            if not matches and not carried:
                before = nothing
                continue
            asks = _asks(quote.text)
            label = not asks and _is_label(quote)
            if not asks and fingerprint(quote.text) not in ignored:
                scan.candidates.append(_Candidate(quote, place, length, label, matches, carried, section | before))
            before, carried = matches, matches if asks or label else nothing
    return scan


def _relevant(scan: _Scan, wanted: frozenset[str]) -> list[_Candidate]:
    """The candidates that match enough of the question, scored."""
    if not scan.total:
        return []
    average = scan.words / scan.total or 1.0
    weight = {
        term: math.log(1 + (scan.total - scan.frequency[term] + 0.5) / (scan.frequency[term] + 0.5)) for term in sorted(wanted)
    }
    whole = sum(weight.values())
    kept: list[_Candidate] = []
    for candidate in scan.candidates:
        counts = _weighed(candidate)
        share = sum(weight[term] for term in counts) / whole
        if len(counts) < _MATCHED_SHARE * len(wanted) and not (len(counts) > 1 and share >= _MATCHED_WEIGHT):
            continue
        norm = _K1 * (1 - _B + _B * candidate.length / average)
        score = sum(weight[term] * count * (_K1 + 1) / (count + norm) for term, count in counts.items())
        candidate.score = score * (_LABEL_FACTOR if candidate.label else 1.0)
        kept.append(candidate)
    best = max((candidate.score for candidate in kept), default=0.0)
    return [candidate for candidate in kept if candidate.score >= _NEAR_BEST * best]


def _weighed(candidate: _Candidate) -> dict[str, float]:
    """How often each term counts for a sentence; what is nearby counts only beside a match of its own."""
    counts: dict[str, float] = {}
    parts = [(candidate.matches, 1.0), (candidate.carried, _CARRIED)]
    if candidate.matches:
        parts.append((candidate.nearby, _NEARBY))
    for matches, factor in parts:
        for term, count in matches.items():
            counts[term] = counts.get(term, 0.0) + factor * count
    return dict(sorted(counts.items()))


def _choose(candidates: list[_Candidate], limit: int) -> tuple[Quote, ...]:
    """The best, none of which says what another says, in reading order.

    Of a sentence that stands in several sources the first is quoted: a document, not the memory of an answer that quoted it.
    """
    once: dict[str, _Candidate] = {}
    for candidate in sorted(candidates, key=lambda one: (one.place, one.quote.start)):
        first = once.setdefault(fingerprint(candidate.quote.text), candidate)
        first.score = max(first.score, candidate.score)
    chosen: list[tuple[str, _Candidate]] = []
    for letters, candidate in sorted(once.items(), key=lambda one: (-one[1].score, one[1].place, one[1].quote.start)):
        if any(letters in other or other in letters for other, _ in chosen):
            continue
        chosen.append((letters, candidate))
        if len(chosen) == limit:
            break
    in_order = sorted((candidate for _, candidate in chosen), key=lambda one: (one.place, one.quote.start))
    return tuple(candidate.quote for candidate in in_order)


def _overview(sources: Sequence[SourceText], limit: int, ignored: frozenset[str]) -> tuple[Quote, ...]:
    """The most central sentences: those whose words the source uses most, the best of each source before the next best."""
    ranked = [_central(source, place, ignored) for place, source in enumerate(sources)]
    in_turn = [ranks[depth] for depth in range(limit) for ranks in ranked if depth < len(ranks)]
    for depth, candidate in enumerate(in_turn):
        candidate.score = float(-depth)
    return _choose(in_turn, limit)


def _central(source: SourceText, place: int, ignored: frozenset[str]) -> list[_Candidate]:
    """The sentences whose words the source uses most, best first; headings and such only where there is nothing else."""
    terms = Terms()
    counted = Counter(terms.of(source.text, 0, len(source.text)))
    telling = frozenset(term for word in content_words(source.text) for term in terms_of(word))
    found: list[_Candidate] = []
    for start, end in sentences(source.text):
        own = [term for term in terms.of(source.text, start, end) if term in telling]
        if own:
            score = sum(math.log(1 + counted[term]) for term in sorted(set(own))) / math.sqrt(len(own))
            found.append(_Candidate(Quote(source, start, end), place, len(own), score=score))
    best = heapq.nsmallest(_CENTRAL, found, key=lambda one: (-one.score, one.quote.start))
    said = [one for one in best if not _asks(one.quote.text) and fingerprint(one.quote.text) not in ignored]
    told = [one for one in said if not _is_heading(one.quote) and not _is_label(one.quote)]
    return told or said

"""Candidates: words of one token go to the masked LM, words of several to the vectors."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from augment.contract.foreign import counted
from augment.errors import RecipeInvalid, TextTooLong
from augment.masked_lm.inputs import MaskedInput, Reading
from augment.masked_lm.model import MaskedLM, Ranking
from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidate_store import CandidateStore, key_of
from augment.tokenization.words import Route, Word, assign_routes, spare
from augment.vectors import Vectors


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """The candidates of one word.

    Attributes:
        words: The candidates, best first.
        scores: Their logits (masked LM) or cosines (vectors).
        draw_order: The same words sorted by their number in the vocabulary or table: the draw is
            uniform, and an order that does not follow scores does not follow rounding either.
    """

    words: tuple[str, ...]
    scores: tuple[float, ...]
    draw_order: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WordInContext:
    """A word to find candidates for, as word ``at`` of a sentence in the model's tokens."""

    word: Word
    token_ids: Sequence[tuple[int, ...]]
    at: int


class Watcher(Protocol):
    """Hears how much a masked LM has to read, and what of it is done."""

    def expects(self, tokens: int) -> None:
        """So many tokens are to be read; where that was said for the same rows, it stands."""

    def reads(self, positions: int, tokens: int, *, found: bool = False) -> None:
        """So many positions, and the tokens read for them, are done or were found in the store."""


class CandidateFinder:
    """Finds candidate sets by a recipe, from one masked LM and one table of vectors.

    Attributes:
        masked_lm: The model for words of one token.
        vectors: The table for words of several tokens.
        recipe: K, the context and which tokens are ranked.
        store: Where rankings are kept for later runs, if anywhere.
        watcher: Told what is to be read and what is done, where anyone wants to hear.
    """

    def __init__(
        self,
        masked_lm: MaskedLM,
        vectors: Vectors,
        recipe: AugmentRecipe,
        store: CandidateStore | None = None,
    ) -> None:
        self.masked_lm = masked_lm
        self.vectors = vectors
        self.recipe = recipe
        self.store = store
        self.watcher: Watcher | None = None
        self.reading = self._reading()
        self._protection = recipe.protection()
        tokenizer = masked_lm.tokenizer
        self._words = {
            spaced: [
                tokenizer.decode(token_id) if may_stand else ""
                for token_id, may_stand in enumerate(tokenizer.whole_words(spaced=spaced).tolist())
            ]
            for spaced in (False, True)
        }

    def _reading(self) -> Reading:
        """How texts are read by this model under this recipe.

        Raises:
            RecipeInvalid: The window is longer than what the model reads.
        """
        recipe, limit, room = self.recipe, self.masked_lm.limit, self.room
        window = None if recipe.window == "whole" else recipe.window
        if window is not None and window > room:
            raise RecipeInvalid(
                f"the recipe has windows of {counted(window, 'token')}, the masked LM reads {room} "
                "of a text.",
                f'Take shorter ones, such as window = {room}, or "whole".',
            )
        if window is None and recipe.long_text == "windows":
            window = room
        return Reading(recipe.context, limit, window, recipe.mask_every)

    @property
    def room(self) -> int:
        """The longest text that the masked LM reads whole, in tokens."""
        special = self.masked_lm.tokenizer.specials
        return self.masked_lm.limit - len(special.before) - len(special.after)

    def words_of(self, texts: Sequence[str]) -> list[tuple[Word, ...]]:
        """The words of each text with their routes."""
        spans = self.masked_lm.tokenizer.spans(texts, self.recipe.words)
        words = [
            self._protection.apply(text, assign_routes(of_text, self.recipe.words))
            for text, of_text in zip(texts, spans, strict=True)
        ]
        most = self.recipe.max_words
        return words if most == "all" else [spare(of_text, most) for of_text in words]

    def refuse_long(self, texts: Sequence[tuple[str, str]]) -> None:
        """Check that the masked LM can read each text, given with its place, before any work.

        Raises:
            TextTooLong: A text does not fit, and the recipe neither truncates nor reads windows.
        """
        tokenizer, room = self.masked_lm.tokenizer, self.room
        if self.recipe.long_text == "truncate" or self.reading.window is not None:
            return
        suspects = [(where, text) for where, text in texts if tokenizer.max_tokens(text) > room]
        words = self.words_of([text for _, text in suspects])
        for (where, text), sentence in zip(suspects, words, strict=True):
            tokens = sum(len(word.token_ids) for word in sentence)
            if tokens > room:
                raise TextTooLong(
                    f"{where} has {counted(tokens, 'token')}, the masked LM reads "
                    f"{room}: {text[:60]!r}…",
                    "Shorten it, or let words beyond the limit keep themselves: "
                    'long_text = "truncate" in the recipe. Read in parts: --recipe long',
                )

    def queries(self, words: Sequence[Word]) -> dict[int, MaskedInput]:
        """Word → its mask, of all words of a text that the masked LM is asked for, in its limit."""
        asked = [at for at, word in enumerate(words) if word.route is Route.MASKED_LM]
        token_ids = [word.token_ids for word in words]
        return self.reading.inputs(token_ids, asked, self.masked_lm.tokenizer)

    def masked_queries(self, sentences: Sequence[tuple[Word, ...]]) -> list[MaskedInput]:
        """The masks of all words that the masked LM is asked for, within its limit."""
        return [query for words in sentences for query in self.queries(words).values()]

    def from_masked_lm(self, queries: Sequence[MaskedInput]) -> list[CandidateSet]:
        """Candidate sets at masked positions; equal queries are computed once."""
        keys = {query: key_of(query) for query in dict.fromkeys(queries)}
        known = self.store.get(list(keys.values()), self.recipe.top_k) if self.store else {}
        due = [query for query, key in keys.items() if key not in known]
        if self.watcher is not None:
            self._tell(self.watcher, queries, due, [q for q, key in keys.items() if key in known])
        words_only = self.recipe.top_k_of == "words"
        on_batch = None if self.watcher is None else self.watcher.reads
        rankings = self.masked_lm.rank(
            due, self.recipe.top_k, words_only=words_only, on_batch=on_batch
        )
        fresh = {keys[query]: ranking for query, ranking in zip(due, rankings, strict=True)}
        if self.store:
            self.store.put(fresh, self.recipe.top_k)
        known |= fresh
        sets = {
            query: self._whole_words(known[key], spaced=query.spaced) for query, key in keys.items()
        }
        return [sets[query] for query in queries]

    @staticmethod
    def _tell(
        watcher: Watcher,
        queries: Sequence[MaskedInput],
        due: Sequence[MaskedInput],
        known: Sequence[MaskedInput],
    ) -> None:
        """Say what is to be read, and what of it need not be: it is known, or asked for twice."""
        asked = _tokens(queries)
        watcher.expects(asked)
        if known:
            watcher.reads(len(known), _tokens(known), found=True)
        if again := asked - _tokens(due) - _tokens(known):
            watcher.reads(0, again)

    def from_vectors(self, words: Sequence[str]) -> list[CandidateSet]:
        """Candidate sets of words of several tokens; empty for words the table does not know."""
        distinct = list(dict.fromkeys(words))
        neighbors = self.vectors.neighbors(distinct, self.recipe.top_k)
        sets = {
            word: CandidateSet(
                near.words,
                near.scores,
                tuple(name for _, name in sorted(zip(near.rows, near.words, strict=True))),
            )
            for word, near in zip(distinct, neighbors, strict=True)
        }
        return [sets[word] for word in words]

    def for_sentences(
        self,
        sentences: Sequence[tuple[Word, ...]],
        wanted: Sequence[Container[int]] | None = None,
    ) -> list[dict[int, CandidateSet]]:
        """Word position → candidates, for every replaceable word, on the original sentences.

        Words beyond the model's limit, and words without any candidate, are missing.

        Args:
            sentences: The words of each text.
            wanted: Of each text the words that are asked for; all of them if left out. What is
                read for them does not depend on it.
        """
        places: list[tuple[int, int]] = []
        words: list[Word] = []
        queries: dict[int, MaskedInput] = {}
        for i, of_text in enumerate(sentences):
            masks = self.queries(of_text)
            for at, word in enumerate(of_text):
                if word.route.replaceable and (wanted is None or at in wanted[i]):
                    if at in masks:
                        queries[len(places)] = masks[at]
                    places.append((i, at))
                    words.append(word)
        sets: list[dict[int, CandidateSet]] = [{} for _ in sentences]
        for (i, at), candidates in zip(places, self._by_route(words, queries), strict=True):
            if candidates.words:
                sets[i][at] = candidates
        return sets

    def find(self, asked: Sequence[WordInContext]) -> list[CandidateSet]:
        """The candidates of words, each masked alone in a sentence of its own.

        Empty for words beyond the model's limit and words that no vector is known for.
        """
        queries = {
            i: query
            for i, each in enumerate(asked)
            if each.word.route is Route.MASKED_LM
            and (query := self._query(each.token_ids, each.at)) is not None
        }
        return self._by_route([each.word for each in asked], queries)

    def _query(self, token_ids: Sequence[tuple[int, ...]], at: int) -> MaskedInput | None:
        return self.reading.inputs(token_ids, [at], self.masked_lm.tokenizer).get(at)

    def _by_route(
        self, words: Sequence[Word], queries: Mapping[int, MaskedInput]
    ) -> list[CandidateSet]:
        """The candidates of each word by its route, each route asked once for all.

        ``queries`` has those that the masked LM is asked for.
        """
        sets = [CandidateSet((), (), ())] * len(words)
        by_vectors = [i for i, word in enumerate(words) if word.route is Route.VECTORS]
        neighbors = self.from_vectors([words[i].text.lower() for i in by_vectors])
        ranked = self.from_masked_lm(list(queries.values()))
        for i, candidates in zip([*by_vectors, *queries], [*neighbors, *ranked], strict=True):
            sets[i] = candidates
        return sets

    def _whole_words(self, ranked: Ranking, *, spaced: bool) -> CandidateSet:
        """Drop the tokens that are no whole words; K is not filled up again."""
        word_of = self._words[spaced]
        kept = [token_id for token_id in ranked.token_ids if word_of[token_id]]
        scores = zip(ranked.token_ids, ranked.scores, strict=True)
        return CandidateSet(
            words=tuple([word_of[token_id] for token_id in kept]),
            scores=tuple([score for token_id, score in scores if word_of[token_id]]),
            draw_order=tuple([word_of[token_id] for token_id in sorted(kept)]),
        )


def _tokens(queries: Sequence[MaskedInput]) -> int:
    return sum(len(query.ids) for query in queries)

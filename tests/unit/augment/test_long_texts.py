"""Windows, several masks in a forward, fewer words, coins first: against the slow way."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM

from augment.contract import RecipeInvalid
from augment.errors import TextTooLong
from augment.masked_lm.inputs import MaskedInput, Reading, shared, stretches
from augment.masked_lm.loading import load_masked_lm
from augment.masked_lm.model import MaskedLM
from augment.recipes.load import RECIPES, describe, load_recipe
from augment.recipes.schema import LATER, AugmentRecipe
from augment.replacement.candidates import CandidateFinder, CandidateSet
from augment.replacement.sampling import TextOfRow, sample_texts
from augment.tokenization.words import Route, Word, spare
from augment.vectors import Vectors, load_vectors
from tests.reference.long_texts import read_for, tokens, windows
from tests.unit.augment.conftest import MANY_TOKENS, WORDS, make_masked_lm
from tests.unit.augment.families import modernbert

Finder = Callable[..., CandidateFinder]


def a_text(words: int, seed: int = 0) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choice([*WORDS, *MANY_TOKENS, ".", "!"]) for _ in range(words))


@pytest.fixture(scope="module", params=["bert", "modernbert"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "bert":
        make_masked_lm(folder)
    else:
        modernbert(folder)
    return load_masked_lm(str(folder)), AutoModelForMaskedLM.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def table(vectors_file: Path) -> Vectors:
    return load_vectors(str(vectors_file), 1000)


@pytest.fixture(scope="module")
def tiny(mlm_dir: Path) -> MaskedLM:
    return load_masked_lm(str(mlm_dir))


@pytest.fixture
def finder(tiny: MaskedLM, table: Vectors) -> Finder:
    return lambda **keys: CandidateFinder(tiny, table, AugmentRecipe(**keys))


@pytest.mark.parametrize("context", ["pair", "single"])
@pytest.mark.parametrize(("window", "every"), [("whole", 3), (7, 2), (7, 0)])
def test_rankings_are_those_of_one_forward_a_word(
    loaded: Any, table: Vectors, context: str, window: int | str, every: int
) -> None:
    lm, model = loaded
    recipe = AugmentRecipe(context=context, window=window, mask_every=every)
    finder = CandidateFinder(lm, table, recipe)
    words = finder.words_of([a_text(12)])[0]
    queries = finder.queries(words)
    ranked = lm.rank(list(queries.values()), 5, words_only=False)
    asked = [at for at, word in enumerate(words) if word.route is Route.MASKED_LM]

    assert list(queries) == asked
    for at, found in zip(asked, ranked, strict=True):
        expected = alone(lm, model, words, asked, at, recipe)
        best = torch.topk(expected, 5)
        assert set(found.token_ids) == set(best.indices.tolist())
        torch.testing.assert_close(torch.tensor(found.scores), best.values, atol=3e-4, rtol=0)


def alone(
    lm: MaskedLM, model: Any, words: Sequence[Word], asked: Sequence[int], at: int, recipe: Any
) -> torch.Tensor:
    """The logits at one mask by transformers' own model."""
    special, window = lm.tokenizer.specials, recipe.window
    first, second, place = read_for(
        [word.token_ids for word in words], asked, at, every=recipe.mask_every,
        window=None if window == "whole" else window, mask=lm.tokenizer.mask,
    )  # fmt: skip
    pair = recipe.context == "pair"
    one = [*special.before, *first, *(special.between if pair else special.after)]
    two = [*second, *special.after] if pair else []
    inputs = {"input_ids": torch.tensor([[*one, *two]])}
    if special.segments:
        inputs["token_type_ids"] = torch.tensor([[0] * len(one) + [1] * len(two)])
    with torch.no_grad():
        logits: torch.Tensor = model(**inputs).logits[0, len(special.before) + place]
    return logits


def test_neither_batches_nor_company_change_a_set(loaded: Any, table: Vectors) -> None:
    """Also with every position computed canonically, and with some of an input's masks known."""
    lm, _ = loaded
    finder = CandidateFinder(lm, table, AugmentRecipe(mask_every=3, top_k=5))
    queries = finder.masked_queries(finder.words_of([a_text(12, seed) for seed in range(3)]))
    whole = [set(each.token_ids) for each in lm.rank(queries, 5, words_only=False)]
    size, gap = lm.tokens_a_batch, lm.tie_gap
    try:
        lm.tokens_a_batch = 1
        assert [set(r.token_ids) for r in lm.rank(queries, 5, words_only=False)] == whole
        lm.tie_gap = 1e9
        some = random.Random(0).sample(range(len(queries)), 8)
        ranked = lm.rank([queries[i] for i in some], 5, words_only=False)
        assert [set(r.token_ids) for r in ranked] == [whole[i] for i in some]
    finally:
        lm.tokens_a_batch, lm.tie_gap = size, gap


def test_masks_of_an_input_cost_one_forward(finder: Finder) -> None:
    one_by_one, together = finder(), finder(mask_every=4)
    words = one_by_one.words_of([a_text(40)])[0]

    assert len(shared(list(together.queries(words).values()))) == 4
    assert len(shared(list(one_by_one.queries(words).values()))) == len(together.queries(words))


@pytest.mark.parametrize("window", [3, 4, 7, 8, 16, 30, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_windows_are_those_of_the_slow_way(window: int, seed: int) -> None:
    draw = random.Random(seed)
    words = [(7,) * draw.choice([1, 1, 1, 2, 3, 12]) for _ in range(draw.randrange(1, 60))]
    found = stretches(list(map(len, words)), window)

    assert [(range(s.begin, s.end), range(s.first, s.last)) for s in found] == windows(
        words, window
    )
    assert [at for s in found for at in range(s.first, s.last)] == list(range(len(words)))
    for part in found:
        longest = max(len(word) for word in words[part.begin : part.end])
        assert tokens(words[part.begin : part.end]) <= max(window, longest + window // 4)


@pytest.mark.parametrize("context", ["pair", "single"])
@pytest.mark.parametrize("window", [None, 5, 17])
@pytest.mark.parametrize("every", [0, 1, 5])
def test_forwards_are_counted_without_making_them(
    tiny: MaskedLM, context: str, window: int | None, every: int
) -> None:
    for seed, limit in ((0, 128), (1, 40), (2, 12)):
        draw = random.Random(seed)
        words = [(9 + n,) * draw.choice([1, 1, 3]) for n in range(50)]
        asked = [at for at, word in enumerate(words) if len(word) == 1 and draw.random() < 0.6]
        reading = Reading(context, limit, window, every)
        made = list(reading.inputs(words, asked, tiny.tokenizer).values())
        counted = reading.forwards(list(map(len, words)), asked, tiny.tokenizer)

        lengths = [len(made[of[0]].ids) for of in shared(made)]
        assert sorted(n for n, count in counted for _ in range(count)) == sorted(lengths)


def test_a_word_alone_and_a_text_of_one_word(finder: Finder) -> None:
    for keys in ({"mask_every": 5}, {"window": 3}, {"max_words": 1}, {"coins_first": True}):
        made = finder(variants=4, **keys)
        for text in ("film", "!", "", "ukulele"):
            words = made.words_of([text])[0]
            assert len(sample_texts([TextOfRow(0, "text", text, words)], made, "t")[0]) == 4


def test_so_many_words_are_replaceable_at_most(finder: Finder) -> None:
    words = finder(max_words=7).words_of([a_text(100)])[0]
    all_words = finder().words_of([a_text(100)])[0]
    able = [at for at, word in enumerate(all_words) if word.route.replaceable]
    chosen = [at for at, word in enumerate(words) if word.route.replaceable]
    spared = [at for at, word in enumerate(words) if word.route is Route.SPARED]
    places = [able.index(at) for at in chosen]

    assert len(chosen) == 7
    assert sorted([*chosen, *spared]) == able
    assert max(b - a for a, b in pairwise(places)) <= len(able) // 7 + 1
    assert spare(all_words, len(able)) == all_words


def test_protected_words_are_none_of_those_chosen(finder: Finder) -> None:
    made = finder(max_words=3, protect_words=("film",))
    words = made.words_of(["film film film good bad fine film great"])[0]

    assert sum(word.route.replaceable for word in words) == 3
    assert all(w.route is Route.PROTECTED for w in words if w.text == "film")


@pytest.mark.parametrize("keys", [{}, {"mask_every": 3}, {"window": 9}])
def test_coins_first_asks_for_what_is_replaced(
    finder: Finder, keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows do not depend on what stands beside them, and only replaced words are asked for."""
    made = finder(variants=2, probability=0.2, coins_first=True, distinct=False, **keys)
    texts = [a_text(30, seed) for seed in (1, 2, 1)]
    rows = [
        TextOfRow(idx, "text", text, words)
        for idx, (text, words) in enumerate(zip(texts, made.words_of(texts), strict=True))
    ]
    asked: list[MaskedInput] = []
    find = made.from_masked_lm

    def seen(queries: Sequence[MaskedInput]) -> list[CandidateSet]:
        asked.extend(queries)
        return find(queries)

    monkeypatch.setattr(made, "from_masked_lm", seen)
    together = sample_texts(rows, made, "t")

    assert 0 < len(asked) < 0.6 * sum(len(made.queries(row.words)) for row in rows[:2])
    assert together == [sample_texts([row], made, "t")[0] for row in rows]
    replaced = sum(len(s.variant.edits) for samples in together for s in samples)
    assert replaced > 10
    more = finder(variants=9, probability=0.2, coins_first=True, distinct=False, **keys)
    assert [s[:2] for s in sample_texts(rows, more, "t")] == together


def test_a_text_beyond_the_limit_is_read_in_windows(finder: Finder) -> None:
    text = a_text(300)
    with pytest.raises(TextTooLong) as caught:
        finder().refuse_long([("row 0", text)])
    assert "--recipe long" in (caught.value.hint or "")
    made = finder(long_text="windows", mask_every=5)
    made.refuse_long([("row 0", text)])
    words = made.words_of([text])[0]
    asked = [at for at, word in enumerate(words) if word.route is Route.MASKED_LM]

    assert list(made.queries(words)) == asked
    assert max(len(query.ids) for query in made.queries(words).values()) <= made.masked_lm.limit


def test_a_window_longer_than_the_model_reads(finder: Finder) -> None:
    finder(window=126)
    with pytest.raises(RecipeInvalid, match="windows of 127 tokens, the masked LM reads 126") as it:
        finder(window=127)
    assert it.value.exit_code == 2


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("max_words = 0", r'must be "all" or a number of at least 1, found 0'),
        ("max_words = true", r'must be "all" or a number of at least 1, found True'),
        ('max_words = "whole"', r'must be "all" or a number'),
        ("window = 2", r'must be "whole" or a number of at least 3, found 2'),
        ("window = 32.0", r'must be "whole" or a number of at least 3, found 32.0'),
        ("mask_every = -1", "must be at least 0"),
        ('conditioning = "copy"\nmask_every = 5', 'is for conditioning = "original"'),
        ('conditioning = "copy"\ncoins_first = true', 'is for conditioning = "original"'),
    ],
)
def test_values_that_mean_nothing(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(line)

    with pytest.raises(RecipeInvalid, match=fault) as caught:
        load_recipe(str(path), "sst2")
    assert caught.value.exit_code == 2


def test_copies_are_read_in_windows_too(finder: Finder) -> None:
    """Each word is masked alone on the copy, whatever has been replaced."""
    made = finder(variants=3, conditioning="copy", window=9, max_words=6, distinct=False)
    text = a_text(40)
    rows = [TextOfRow(0, "text", text, made.words_of([text])[0])]

    assert all(len(each.variant.edits) <= 6 for each in sample_texts(rows, made, "t")[0])


def test_recipes_without_the_keys_have_the_ids_they_had() -> None:
    """Keys that are newer than versions count where they are used, and are printed always."""
    for name in RECIPES.names:
        recipe = load_recipe(name, "sst2")
        used = {key for key in LATER if getattr(recipe, key) != getattr(AugmentRecipe(), key)}
        kept = recipe.identifying()
        assert {key for key in LATER if key in kept} == used
        assert AugmentRecipe.model_validate(kept) == recipe
        assert all(f"\n{key} = " in describe(recipe) for key in LATER)
    assert load_recipe("long", "sst2").mask_every == 4


def test_the_recipe_for_long_texts_is_official_but_for_what_it_reads() -> None:
    long, official = load_recipe("long", "other"), load_recipe("official", "other")
    same = {"preset": "official", "long_text": "error", "mask_every": 0, "max_words": "all"}

    assert long.model_copy(update=same) == official


def test_words_are_spared_in_the_counts(finder: Finder) -> None:
    word = Word(0, 4, "film", (1,), Route.MASKED_LM)
    words = tuple(replace(word, start=i, end=i) for i in range(5))

    assert [w.route.value for w in spare(words, 2)].count("spared") == 3

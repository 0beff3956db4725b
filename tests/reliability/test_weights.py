"""Whole files with wrong contents: faulty checkpoints before every way in which a model is read."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
)
from typer.testing import CliRunner

from augment.contract import Fault
from augment.filters.loading import load_sentence_encoder, load_teacher
from augment.masked_lm.loading import load_masked_lm
from distill.cli import app
from distill.models.labels import label_settings
from distill.models.loading import (
    UNTUNED,
    Classifier,
    load_classifier,
    load_encoder,
    read_config,
    read_tokenizer,
    read_weights,
)
from distill.models.students import build_student, parse_student
from tests.unit.distill.helpers import (
    SENTIMENT,
    make_bert,
    make_model,
    make_tokenizer,
    mood_rows,
    save,
    write_version,
)

State = dict[str, torch.Tensor]
Change = Callable[[State, dict[str, Any]], State | None]
TOKENIZER = make_tokenizer()
GUIDE = Classifier("guide", make_bert(TOKENIZER), TOKENIZER)


def as_init(folder: str) -> Any:
    """As ``distill teacher --init`` reads it."""
    read_tokenizer(folder)
    config = read_config(folder, **label_settings(SENTIMENT))
    return read_weights(folder, config, may_start=UNTUNED)


def as_student(folder: str) -> Any:
    """As ``distill run --student`` reads it."""
    spec = parse_student(folder, "auto", "no teacher is read")
    return build_student(spec, SENTIMENT, GUIDE, mapping=(2, 4), seed=0)


WITH_HEAD: dict[str, Callable[[str], Any]] = {
    "evaluate, predict, export, doctor, run, submission": lambda f: load_classifier(f, SENTIMENT),
    "augment run --teacher": lambda f: load_teacher(f, SENTIMENT),
}
HEAD_MAY_START = {"distill teacher --init": as_init, "distill run --student": as_student}
ENCODERS = {
    "distill general": load_encoder,
    "augment run --similarity-model": load_sentence_encoder,
}
CLASSIFIERS = {**WITH_HEAD, **HEAD_MAY_START, **ENCODERS}
MASKED_LMS: dict[str, Callable[[str], Any]] = {
    "augment run --mlm": load_masked_lm,
    **HEAD_MAY_START,
    **ENCODERS,
}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(make_bert(TOKENIZER, layers=2), TOKENIZER, tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def masked_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = BertConfig.from_dict(make_bert(TOKENIZER, layers=2).config.to_dict())
    return save(BertForMaskedLM(config), TOKENIZER, tmp_path_factory.mktemp("masked_lm"))


def changed(source: Path, folder: Path, change: Change) -> str:
    """A copy of a model folder with other weights or another config."""
    shutil.copytree(source, folder)
    state, file = load_file(folder / "model.safetensors"), folder / "config.json"
    config = json.loads(file.read_text())
    state = change(state, config) or state
    save_file(
        {k: v.clone() for k, v in state.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    file.write_text(json.dumps(config))
    return str(folder)


def without(*parts: str) -> Change:
    """Tensors whose names hold one of these are lost."""
    return lambda state, _: {k: v for k, v in state.items() if not any(p in k for p in parts)}


def named(prefix: str) -> Change:
    return lambda state, _: {prefix + name: value for name, value in state.items()}


def renamed(old: str, new: str) -> Change:
    return lambda state, _: {name.replace(old, new): value for name, value in state.items()}


def also(name: str, *shape: int) -> Change:
    return lambda state, _: state | {name: torch.zeros(shape or (1,))}


def holding(value: float, part: str) -> Change:
    def change(state: State, _: dict[str, Any]) -> State:
        name = next(name for name in state if part in name)
        state[name].view(-1)[1] = value
        return state

    return change


def set_to(key: str, value: Any) -> Change:
    def change(_: State, config: dict[str, Any]) -> None:
        config[key] = value

    return change


def _wide(name: str, value: torch.Tensor) -> torch.Tensor:
    return torch.cat([value, value[:1]]) if "word_embeddings" in name else value


FOR_ALL: dict[str, tuple[Change, str]] = {
    "DataParallel": (named("module."), r"names of something around the model: module\.bert"),
    "torch.compile": (named("_orig_mod."), r"around the model: _orig_mod\.bert"),
    "a training module": (named("student."), r"around the model: student\.bert"),
    "a model in a model": (named("model."), r"around the model: model\.bert"),
    "two wrappers": (named("module._orig_mod.bert."), r"around the model: module\._orig_mod"),
    "another family": (renamed("bert.", "roberta."), "another kind of model: roberta"),
    "half the layers": (without("layer.1."), "asks for 2 layers, they hold 1"),
    "more layers": (set_to("num_hidden_layers", 1), "hold 2 layers, config.json asks for 1"),
    "no embeddings": (without("word_embeddings"), "lack 1 tensor of its encoder"),
    "no positions": (without("position_embeddings"), "lack 1 tensor of its encoder"),
    "no norms": (without("embeddings.LayerNorm", "output.LayerNorm"), "lack 10 tensors"),
    "half a matrix": (without("layer.0.intermediate.dense.bias"), "lack 1 tensor"),
    "relative positions": (
        also("bert.encoder.layer.0.attention.self.distance_embedding.weight", 127, 8),
        "does not know",
    ),
    "8 bits": (also("bert.encoder.layer.0.output.dense.weight.absmax"), "does not know"),
    "codes of 8 bits": (
        lambda state, _: {k: v.to(torch.int8) if v.dim() > 1 else v for k, v in state.items()},
        "is quantized",
    ),
    "LoRA": (also("bert.encoder.layer.0.attention.self.query.lora_A.weight"), "hold adapters"),
    "adapters": (also("bert.encoder.layer.1.output.adapters.a.up.weight"), "hold adapters"),
    "another vocabulary": (
        lambda state, _: {name: _wide(name, value) for name, value in state.items()},
        r"word_embeddings.weight has the shape \(30, 32\), expected \(29, 32\)",
    ),
    "another width": (set_to("intermediate_size", 32), "do not fit config.json"),
    "NaN": (holding(float("nan"), "layer.1.output.dense.weight"), "holds NaN"),
    "infinity": (holding(float("inf"), "word_embeddings"), "or infinity"),
    "minus infinity": (holding(float("-inf"), "LayerNorm.bias"), "or infinity"),
    "relative_key": (set_to("position_embedding_type", "relative_key"), "position_embedding_type"),
    "a decoder": (set_to("is_decoder", True), "decoder"),
    "cross attention": (set_to("add_cross_attention", True), "add_cross_attention"),
    "pruned heads": (set_to("pruned_heads", {"1": [0]}), "pruned_heads"),
    "chunks": (set_to("chunk_size_feed_forward", 4), "chunk_size_feed_forward"),
    "quantized": (set_to("quantization_config", {"quant_method": "gptq"}), "quantization_config"),
    "rotations": (set_to("rope_scaling", {"type": "linear", "factor": 2.0}), "rope_scaling"),
    "code": (set_to("auto_map", {"AutoModel": "own.Model"}), "auto_map"),
    "layers of their own": (set_to("per_layer_config", {"0": {"intermediate_size": 8}}), "per_lay"),
}
HARMLESS = {
    "return_dict": False,
    "output_attentions": True,
    "output_hidden_states": True,
    "position_embedding_type": "absolute",
    "pruned_heads": {},
    "quantization_config": None,
    "adapters": {"adapters": {}, "config_map": {}},
    "use_cache": False,
    "gradient_checkpointing": True,
    "torch_dtype": "float16",
    "auto_map": {"AutoTokenizer": ["own.Tokenizer", None]},
}


@pytest.mark.parametrize("fault", FOR_ALL)
def test_every_door_refuses_what_concerns_the_encoder(
    classifier: Path, masked_lm: Path, tmp_path: Path, fault: str
) -> None:
    change, said = FOR_ALL[fault]
    mlm = {door: MASKED_LMS[door] for door in ("augment run --mlm", "distill teacher --init")}
    for source, doors in ((classifier, CLASSIFIERS), (masked_lm, mlm)):
        folder = changed(source, tmp_path / source.name, change)
        for door, read in doors.items():
            with pytest.raises(Fault, match=said) as caught:
                read(folder)
            assert (caught.value.exit_code, bool(caught.value.hint)) == (4, True), door


def refused_by(folder: str, doors: dict[str, Callable[[str], Any]]) -> set[str]:
    found = set()
    for door, read in doors.items():
        try:
            read(folder)
        except Fault:
            found.add(door)
    return found


@pytest.mark.parametrize(
    ("change", "doors"),
    [
        (without("classifier"), WITH_HEAD),
        (without("classifier", "pooler"), WITH_HEAD),
        (without("classifier.bias"), {**WITH_HEAD, **HEAD_MAY_START}),
        (without("pooler"), WITH_HEAD),
        (without("pooler.dense.bias"), CLASSIFIERS),
        (also("classifier.dense.weight", 32, 32), {**WITH_HEAD, **HEAD_MAY_START}),
        (also("cls.predictions.bias", 29), {}),
        (also("fit_dense.weight", 32, 32), {}),
        (holding(float("nan"), "classifier.bias"), {**WITH_HEAD, **HEAD_MAY_START}),
    ],
)
def test_a_head_is_whole_or_may_start(
    classifier: Path, tmp_path: Path, change: Change, doors: dict[str, Any]
) -> None:
    folder = changed(classifier, tmp_path / "model", change)

    assert refused_by(folder, CLASSIFIERS) == doors.keys()


def test_a_masked_lm_as_published_is_read_by_all_but_those_that_need_a_head(
    masked_lm: Path, tmp_path: Path
) -> None:
    """It has no pooler; the head of the next sentence lies inside the other one."""
    folder = changed(masked_lm, tmp_path / "model", also("cls.seq_relationship.weight", 2, 32))

    assert not refused_by(folder, MASKED_LMS)
    assert refused_by(folder, WITH_HEAD) == WITH_HEAD.keys()


@pytest.mark.parametrize("key", HARMLESS)
def test_settings_that_change_no_answer_are_no_fault(
    classifier: Path, tmp_path: Path, key: str
) -> None:
    folder = changed(classifier, tmp_path / "model", set_to(key, HARMLESS[key]))
    text = TOKENIZER(["the room was warm"], return_tensors="pt")
    with torch.inference_mode():
        logits = load_classifier(folder, SENTIMENT).logits(text)
        again = load_classifier(str(classifier), SENTIMENT).logits(text)

    assert torch.equal(logits, again)
    assert not refused_by(folder, CLASSIFIERS)


@pytest.mark.parametrize(
    "family", ["albert", "distilbert", "electra", "modernbert", "roberta", "deberta-v2"]
)
@pytest.mark.parametrize("fault", ["whole", "wrapped", "layers", "no head", "NaN"])
def test_families_are_judged_alike(tmp_path: Path, family: str, fault: str) -> None:
    model = make_model(family, TOKENIZER, "2x32-64-4") if family != "albert" else _albert()
    folder = save(model, TOKENIZER, tmp_path / "whole")
    prefix = f"{model.base_model_prefix}."
    heads = {name.split(".")[0] for name in model.state_dict() if not name.startswith(prefix)}
    change: Change = {
        "whole": without("no such tensor"),
        "wrapped": named("module."),
        "layers": without(".1.", "albert_layers"),
        "no head": without(*(f"{head}." for head in heads)),
        "NaN": holding(float("nan"), "embeddings"),
    }[fault]
    changed(folder, tmp_path / "model", change)

    doors = {**WITH_HEAD, "distill run --student": as_student}
    refused = refused_by(str(tmp_path / "model"), doors)

    expected = {"whole": {}, "no head": WITH_HEAD}.get(fault, doors)
    assert refused == expected.keys()


def _albert() -> Any:
    config = make_bert(TOKENIZER).config.to_dict()
    kept = {k: config[k] for k in ("vocab_size", "hidden_size", "id2label", "label2id")}
    sizes = {"num_attention_heads": 4, "intermediate_size": 64, "num_hidden_layers": 2}
    made = AlbertConfig(**kept, **sizes, embedding_size=16, max_position_embeddings=64)
    return AutoModelForSequenceClassification.from_config(made)


def test_two_tables_where_the_config_ties_them(masked_lm: Path, tmp_path: Path) -> None:
    """What transformers did with them has changed with its versions."""
    decoder = {"weight": torch.zeros(29, 32), "bias": torch.zeros(29)}

    def both(state: State, _: dict[str, Any]) -> State:
        return state | {f"cls.predictions.decoder.{k}": v for k, v in decoder.items()}

    with pytest.raises(Fault, match="hold two different tables"):
        load_masked_lm(changed(masked_lm, tmp_path / "tied", both))
    free = changed(masked_lm, tmp_path / "free", both)
    config = json.loads((tmp_path / "free" / "config.json").read_text())
    (tmp_path / "free" / "config.json").write_text(
        json.dumps(config | {"tie_word_embeddings": False})
    )

    load_masked_lm(free)


def test_positions_are_counted_from_one_padding_token(tmp_path: Path) -> None:
    model = make_model("roberta", TOKENIZER, "2x32-64-4")
    folder = save(model, TOKENIZER, tmp_path / "whole")
    assert not refused_by(str(folder), CLASSIFIERS)
    elsewhere = changed(folder, tmp_path / "elsewhere", set_to("pad_token_id", 5))

    assert refused_by(elsewhere, CLASSIFIERS) == CLASSIFIERS.keys()


def test_a_head_for_tokens_is_none_for_texts(tmp_path: Path) -> None:
    """Of ModernBERT it has the same names and shapes."""
    model = make_model("modernbert", TOKENIZER, "2x32-64-4")
    folder = save(model, TOKENIZER, tmp_path / "whole")
    built_as = set_to("architectures", ["ModernBertForTokenClassification"])
    tokens = changed(folder, tmp_path / "tokens", built_as)
    untold = changed(folder, tmp_path / "untold", set_to("architectures", None))

    assert refused_by(tokens, CLASSIFIERS) == WITH_HEAD.keys()
    assert not refused_by(untold, CLASSIFIERS)


def test_an_adapter_beside_a_model_is_not_passed_over(classifier: Path, tmp_path: Path) -> None:
    folder = changed(classifier, tmp_path / "model", without("no such tensor"))
    (tmp_path / "model" / "adapter_config.json").write_text('{"peft_type": "LORA"}')

    assert refused_by(folder, CLASSIFIERS) == CLASSIFIERS.keys()


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_the_file_of_a_training_script_names_what_to_save(
    classifier: Path, tmp_path: Path, key: str
) -> None:
    shutil.copytree(classifier, tmp_path / "model")
    state = load_file(classifier / "model.safetensors")
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save({key: state, "epoch": 3}, tmp_path / "model" / "pytorch_model.bin")

    for read in CLASSIFIERS.values():
        with pytest.raises(Fault, match=rf"they lie under '{key}'.*Save them alone"):
            read(str(tmp_path / "model"))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, classifier: Path) -> dict[str, Path]:
    """A version, a corpus, a whole model and a copy of it with the prefix of a wrapper."""
    root = tmp_path_factory.mktemp("places")
    rows = {"train": mood_rows(40, 1), "validation": mood_rows(20, 2), "test": mood_rows(4, 3)}
    (root / "corpus.txt").write_text("the room was warm .\n" * 200)
    changed(classifier, root / "wrapped", named("module."))
    version = write_version(root / "versions", SENTIMENT, rows).path
    return {"version": version, "corpus": root / "corpus.txt", "model": root / "wrapped",
            "whole": classifier}  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        "evaluate {model} {version}",
        "predict {model} {version} --split validation --out {tmp}/out.csv",
        "export {model} {version} --out {tmp}/out --to transformers",
        "doctor {model} {version}",
        "run {version} --teacher {model} --student 2x16-32-4 --out {tmp}/out",
        "run {version} --teacher {whole} --teacher {model} --student 2x16-32-4 --out {tmp}/out",
        "ablate {version} --teacher {model} --student 2x16-32-4 --out {tmp}/out",
        "teacher {version} --init {model} --out {tmp}/out",
        "general {corpus} --teacher {model} --student 2x16-32-4 --out {tmp}/out",
    ],
)
def test_commands_refuse_with_a_sentence(
    places: dict[str, Path], tmp_path: Path, arguments: str
) -> None:
    words = [word.format(**places, tmp=tmp_path) for word in arguments.split()]
    done = CliRunner().invoke(app, words)

    told = done.stdout + done.stderr
    assert done.exit_code == 4, told
    assert "names of something around the model: module.bert" in " ".join(told.split())
    assert not (tmp_path / "out" / "student").exists()


def test_a_head_for_other_labels_says_how_to_start_anew(tmp_path: Path) -> None:
    three = make_bert(TOKENIZER, layers=2, labels=("a", "b", "c"))
    folder = str(save(three, TOKENIZER, tmp_path / "three"))
    for read in HEAD_MAY_START.values():
        with pytest.raises(
            Fault, match=r"head of another size: classifier.bias .*\(3,\)"
        ) as caught:
            read(folder)
        assert "save the encoder without it" in caught.value.hint
    three.bert.save_pretrained(folder)

    assert not refused_by(folder, HEAD_MAY_START)


def test_codes_in_a_pickled_file(classifier: Path, tmp_path: Path) -> None:
    shutil.copytree(classifier, tmp_path / "model")
    state = load_file(classifier / "model.safetensors")
    (tmp_path / "model" / "model.safetensors").unlink()
    codes = {k: v.to(torch.int8) if v.dim() > 1 else v for k, v in state.items()}
    torch.save(codes, tmp_path / "model" / "pytorch_model.bin")

    assert refused_by(str(tmp_path / "model"), CLASSIFIERS) == CLASSIFIERS.keys()


MUTATIONS: dict[str, Callable[[State, str, str], object]] = {
    "lost": lambda state, one, _: state.pop(one),
    "renamed": lambda state, one, _: state.update({one[:-1]: state.pop(one)}),
    "moved up": lambda state, one, _: state.update({one.split(".", 1)[1]: state.pop(one)}),
    "moved down": lambda state, one, _: state.update({f"a.{one}": state.pop(one)}),
    "exchanged": lambda state, one, other: state.update({one: state[other], other: state[one]}),
    "twice": lambda state, one, _: state.update({f"{one}.copy": state[one]}),
    "under two names": lambda state, one, _: state.update({f"bert.{one}": state[one] + 1}),
    "without its prefix too": lambda state, one, _: state.update(
        {one.removeprefix("bert."): state[one] + 1}
    ),
    "cut": lambda state, one, _: state.update({one: state[one][:-1]}),
    "flat": lambda state, one, _: state.update({one: state[one].flatten()}),
    "turned": lambda state, one, _: state.update({one: state[one].mT.contiguous()}),
    "empty": lambda state, one, _: state.update({one: state[one][:0]}),
    "not a number": lambda state, one, _: state.update({one: state[one] / 0}),
}


@pytest.mark.parametrize("kind", MUTATIONS)
def test_a_mutated_file_is_refused_or_means_the_same(
    classifier: Path, tmp_path: Path, kind: str
) -> None:
    """Never another value in silence, but for values that were exchanged within their shapes."""
    draw = random.Random(kind)
    whole = load_classifier(str(classifier), SENTIMENT).model.state_dict()
    for number in range(4):
        one, other = draw.sample(sorted(whole), 2)
        if kind == "exchanged" and whole[one].shape == whole[other].shape:
            continue
        if kind == "turned" and len({*whole[one].shape}) == 1:
            continue

        def mutate(state: State, _: dict[str, Any], names: tuple[str, str] = (one, other)) -> State:
            MUTATIONS[kind](state, *names)
            return state

        folder = changed(classifier, tmp_path / str(number), mutate)
        try:
            read = load_classifier(folder, SENTIMENT).model.state_dict()
        except Fault as fault:
            assert fault.exit_code == 4  # noqa: PT017 - whether it is refused is what is tried
        else:
            assert all(torch.equal(read[name], whole[name]) for name in whole), (kind, one)

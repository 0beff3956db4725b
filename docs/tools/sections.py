"""The sections of RESULTS.md: tables and pictures of what one file of results holds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from augment.contract.foreign import markdown_table
from docs.tools.charts import Bars, Kind, Mark, Panel, bars, marks, picture
from docs.tools.table import ANSWERS, TASKS

NAMES = {task: title.split()[0] for task, title in TASKS.items()}


# --- Whole GLUE training sets ---

STARTS = {
    "whole": "labels only from: general student",
    "teacher-layers": "labels only from: teacher's layers",
    "no-gd": "labels only from: random",
}
"""Arm to what its labels-only student is called among the results."""
ARMS = {
    "whole": "**whole**",
    "no-da": "without augmented rows",
    "teacher-layers": "whole, from the teacher's layers",
    "no-gd": "whole, from random weights",
    "labels only from: general student": "labels only, from the general student",
    "labels only from: teacher's layers": "labels only, from the teacher's layers",
    "labels only from: random": "labels only, from random weights",
    "logits-only": "logits only, from random weights",
}
Kept = dict[str, dict[str, list[float]]]


def retentions(found: Mapping[str, Any]) -> Kept:
    """Arm to task to the percent of the teacher that each seed keeps, distilled and labels only."""
    kept: Kept = {}
    for line in found["lines"]:
        task, plain = line["task"], line["labels_only"]
        kept.setdefault(line["arm"], {}).setdefault(task, []).append(line["retention"])
        if plain is not None:
            own = 100 * plain / found["teachers"][task]
            kept.setdefault(STARTS[line["arm"]], {}).setdefault(task, []).append(own)
    return kept


def deviation(own: Sequence[float]) -> float | None:
    """Over seeds, where there are several."""
    return statistics.stdev(own) if len(own) > 1 else None


def whole_tasks(found: dict[str, Any]) -> str:
    """In percent of the teacher, and every run."""
    kept, means = retentions(found), found["retention_percent"]
    rows = [["teacher's score", *(f"{found['teachers'][task]:.3f}" for task in TASKS), ""]]
    for arm, name in ARMS.items():
        shown = []
        for task in TASKS:
            spread = deviation(kept[arm][task])
            around = "" if spread is None else f" ± {spread:.1f}"
            shown.append(f"{means[arm][task]:.1f}{around}")
        rows.append([name, *shown, f"{means[arm]['mean']:.1f}"])
    runs = [
        [
            f"{NAMES[line['task']]}, {line['arm']}",
            str(line["seed"]),
            f"{line['score']:.4f}",
            f"{line['retention']:.1f}",
            "–" if line["labels_only"] is None else f"{line['labels_only']:.4f}",
            " + ".join(map(str, line["steps"])),
            f"{line['seconds']:.0f}",
        ]
        for line in found["lines"]
    ]
    own, heads = found["general"], ["percent of the teacher", *TASKS.values(), "mean"]
    of_runs = ["run", "seed", "score", "% of teacher", "labels only", "steps", "seconds"]
    return (
        f"Students of {found['student']}, teacher of 6 x 384 tuned on the whole training set. The "
        f"general student saw {own['tokens']:,} tokens in {own['steps']:,} steps. ± is the "
        "standard deviation over seeds; arms without it have one seed. The step of each score, "
        "the teacher's too, was chosen on the split that is scored. What it means: "
        "[docs/real-tasks.md](docs/real-tasks.md).\n\n"
        f"{markdown_table(heads, rows)}\nEvery run:\n\n{markdown_table(of_runs, runs)}"
    )


KINDS = {
    "whole": Kind("distilled", 1),
    "no-da": Kind("without augmented rows", 3),
    "teacher-layers": Kind("no general distillation", 4),
    "labels only from: general student": Kind("labels only, same start", 2),
    "labels only from: random": Kind("labels only, random start", 6),
}


def retention_panels(found: dict[str, Any]) -> list[Panel]:
    """What students keep of their teacher."""
    kept, means = retentions(found), found["retention_percent"]
    series = [
        Bars(kind, [means[arm][t] for t in TASKS], [deviation(kept[arm][t]) for t in TASKS])
        for arm, kind in KINDS.items()
    ]
    title = f"{found['student']}, percent of its teacher's score"
    return [Panel(title, bars([*NAMES.values()], series, "percent of the teacher", 100))]


def retention_said(found: dict[str, Any]) -> str:
    """The same in words."""
    arms = (
        f"{kind.name}: "
        + ", ".join(f"{NAMES[t]} {found['retention_percent'][arm][t]:.0f}%" for t in TASKS)
        for arm, kind in KINDS.items()
    )
    return f"Percent of the teacher's score. {'; '.join(arms)}."


def retention(found: dict[str, Any]) -> str:
    """By task, with error bars."""
    return picture("retention", retention_panels(found), retention_said(found))


# --- From raw text to an answer ---

MODELS = {
    "TF-IDF + logistic regression": Kind("TF-IDF", 2, "X"),
    "teacher, 6 x 384": Kind("teacher, 6 x 384", 5, "P"),
    "4 x 312, labels only, one seed": Kind("4 x 312, labels only", 6, "v"),
    "4 x 312, distilled, PyTorch": Kind("distilled, PyTorch", 1, "o"),
    "`onnx`": Kind("onnx", 1, "D"),
    "`onnx-int8`": Kind("onnx-int8", 1, "s"),
    "`onnx-small`": Kind("onnx-small", 1, "^"),
    "`onnx-int8`, seen tokens": Kind("onnx-int8, seen tokens", 3, "s"),
    "`onnx-small`, seen tokens": Kind("onnx-small, seen tokens", 3, "^"),
}


def served(found: dict[str, Any]) -> str:
    """Score, size and time of all models on each task."""
    parts = [
        "Scores of rows that selected nothing: mean of the seeds, and the middle 95% of a thousand "
        "resamples. *Ahead of the teacher*: the middle 95% of the differences on the same "
        "resampled rows; where 0 is outside, they differ. Milliseconds a text go from raw "
        "text to label on one thread, all models in turns.\n"
    ]
    heads = ["", "score", "95%", "ahead of the teacher", "seeds", "MB", "ms, one", "ms, of 32"]
    for task, title in ANSWERS.items():
        own = found[task]
        rows = []
        for name, model in own["models"].items():
            inside, below = model["interval"], model["below the teacher"]
            ahead = f"{-below['high']:+.3f} to {-below['low']:+.3f}"
            rows.append([
                name,
                f"{model['score']:.3f}",
                f"{inside['low']:.3f} to {inside['high']:.3f}",
                "–" if name.startswith("teacher") else ahead,
                " ".join(f"{seed:.3f}" for seed in model["seeds"]),
                f"{model['megabytes']:.2f}",
                f"{model['batch_1_ms']:.2f}",
                f"{model['batch_32_ms']:.2f}",
            ])  # fmt: skip
        metric = own["metric"].replace("_f1", " F1")
        parts.append(f"**{title}**, {metric}\n\n{markdown_table(heads, rows)}")
    return "\n".join(parts)


def trade_off(found: dict[str, Any], task: str, key: str, x: str) -> Panel:
    """Score against what it costs, on a task."""
    own = found[task]
    drawn = [
        Mark(
            MODELS[name], model[key], model["score"],
            model["interval"]["low"], model["interval"]["high"],
        )
        for name, model in own["models"].items()
    ]  # fmt: skip
    return Panel(ANSWERS[task], marks(drawn, x, own["metric"].replace("_f1", " F1")))


def trade_off_said(found: dict[str, Any], task: str, key: str) -> str:
    """The same in words."""
    models = found[task]["models"].items()
    said = ", ".join(
        f"{MODELS[name].name} {own['score']:.3f} at {own[key]:g}" for name, own in models
    )
    return f"{ANSWERS[task]}: {said}."


def trade_offs(found: dict[str, Any], key: str, x: str) -> str:
    """On all tasks side by side."""
    said = " ".join(trade_off_said(found, task, key) for task in ANSWERS)
    panels = [trade_off(found, task, key, x) for task in ANSWERS]
    return picture(f"score against {x}", panels, f"Score against {x}. {said}", 3.8)


def size(found: dict[str, Any]) -> str:
    """Score against megabytes."""
    return trade_offs(found, "megabytes", "MB with tokenizer")


def latency(found: dict[str, Any]) -> str:
    """Score against milliseconds from raw text to label."""
    return trade_offs(found, "batch_1_ms", "ms a text, raw text to label")


# --- Smaller ones ---


def serving(found: dict[str, Any]) -> str:
    """From raw texts to labels, by backend."""
    rows = [
        [
            name,
            f"{one['wall_ms']:.2f}",
            f"{one['wall_ms_lowest']:.2f}",
            *(f"{found['batches'][size][name]['wall_ms']:.2f}" for size in found["batches"]),
            "–" if name not in found["nodes"] else str(sum(found["nodes"][name].values())),
        ]
        for name, one in found["batch_1"].items()
    ]
    heads = [
        "ms a text, one thread",
        "one",
        "lowest",
        *(f"of {n}" for n in found["batches"]),
        "nodes",
    ]
    length = found["length"]["mean"]
    return (
        f"A student of 4 x 312 with random weights reads {found['texts']} sentences of SST-2 "
        f"({length:.0f} tokens in the mean). [Why these graphs]"
        f"(docs/decisions/0002-graphs-and-int8.md).\n\n{markdown_table(heads, rows)}"
    )


def small_sets(found: dict[str, Any]) -> str:
    """Teachers on 300 to 3,000 rows: the default's numbers beside others."""
    rows = []
    for name, own in found["sets"].items():
        arms = {
            arm: each["first"] for arm, each in own["arms"].items() if each["first"] is not None
        }
        best, default = max(arms, key=arms.__getitem__), own["arms"]["default"]
        spread = "" if default["sd"] is None else f" ± {default['sd']:.3f}"
        of_first = [f"{arms['default']:.3f}", f"{arms[best]:.3f} ({best})", str(len(arms))]
        rows.append([name, f"{default['mean']:.3f}{spread}", str(default["seeds"]), *of_first])
    heads = ["set", "default, all seeds", "seeds", "default, seed 0", "best, seed 0", "arms"]
    return (
        "A teacher of 6 x 384 tuned on few rows, scored on rows that select nothing: the numbers "
        "of the recipe, and the best of a grid by the very score that is shown, which flatters it. "
        f"[docs/small-sets.md](docs/small-sets.md).\n\n{markdown_table(heads, rows)}"
    )


COLUMNS = {"megabytes": 2, "held_out": 4, "test": 4}


def token_vectors(found: dict[str, Any]) -> str:
    """What was tried to make the word table small."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for line in (*found["tables"], *found["graphs"]):
        name = NAMES[line.get("task", "sst2")]
        groups.setdefault(f"{name}: {line.get('table', line.get('what'))}", []).append(line)
    rows = [
        [name, str(len(own)), *(mean_of(own, key, digits) for key, digits in COLUMNS.items())]
        for name, own in groups.items()
    ]
    heads = ["", "seeds", "MB", "held out", "validation"]
    return f"{found['about']} Means over seeds.\n\n{markdown_table(heads, rows)}"


def narrowing(fitted: dict[str, Any], cut: dict[str, Any]) -> str:
    """A line for each encoder, shape and task; what both ways leave unexplained, layer by layer."""
    both: dict[tuple[str, str], list[str]] = {}
    for line in (*cut["lines"], *fitted["lines"]):
        name = f"{line['encoder']}, {line['shape'].partition('-')[0]}, {NAMES[line['task']]}"
        own = both.setdefault((name, ", ".join(map(str, line["layers"]))), [])
        for kind in ("unexplained", "unexplained_scores"):
            own.append(" ".join(f"{share:.2f}" for share in line[kind]))
    rows = [[*key, *own] for key, own in both.items() if len(own) == 4]
    heads = ["", "layers", "states, cut", "scores, cut", "states, fitted", "scores, fitted"]
    return (
        "The share of the variance of the teacher's hidden states, and of its attention scores but "
        "in the embeddings, that a narrower student leaves unexplained on validation rows before "
        "it is trained; above 1 a constant would explain more. *Cut*: the teacher's layers made "
        "narrower as measured on 4,096 tokens, norms fitted. *Fitted*: on 8,192 tokens, and every "
        "matrix to what the student's layers below it compute "
        "([how](docs/method.md#81-starting-from-the-teachers-layers)).\n\n"
        f"{markdown_table(heads, rows)}"
    )


def sample_start(fitted: dict[str, Any], cut: dict[str, Any]) -> str:
    """Scores after few steps from both starts, seed by seed."""
    rows = []
    for new, old in zip(fitted["table"], cut["table"], strict=True):
        shape, model = new["shape"], new["model"]
        if model != "teacher":
            before = {e["seed"]: e[model] for e in cut["lines"] if e["shape"] == shape}
            own = {e["seed"]: e[model] for e in fitted["lines"] if e["shape"] == shape}
            gains = [own[seed] - before[seed] for seed in own]
            gain = {"mean": statistics.fmean(gains), "sd": deviation(gains)}
            name = f"{shape.partition('-')[0]}, {model.removeprefix('student, ')}"
            rows.append([name, spread(old, 1), spread(new, 1), spread(gain, 100, "+.1f")])
    return (
        "Students of the embedded sample's topics after 80 + 80 steps, or 80 on labels only, of a "
        f"teacher of 4 layers with accuracy {fitted['table'][0]['mean']:.3f}: mean ± deviation of "
        f"{fitted['table'][0]['seeds']} seeds, on 77 rows that also choose the step.\n\n"
        + markdown_table(["", "cut", "fitted", "points"], rows)
    )


def ticket_rows(found: dict[str, Any]) -> str:
    """What generated rows are worth to a student of few tickets, by the way they are made."""
    metrics = {
        "macro_f1": "macro F1",
        "accuracy": "accuracy",
        "recall_of_rarest": "rarest's recall",
    }
    rows = [
        [
            line["way"], str(line["seeds"]),
            *(spread(line[key], 1) for key in metrics),
            *("–" if line["way"] == "none" else spread(line[f"{key} above none"], 100, "+.1f")
              for key in metrics),
        ]
        for line in found["table"]
    ]  # fmt: skip
    heads = [
        "rows",
        "seeds",
        *metrics.values(),
        *(f"points of {name}" for name in metrics.values()),
    ]
    first, second = found["steps"]
    teachers = [line["teacher"]["macro_f1"] for line in found["lines"] if line["way"] == "none"]
    return (
        f"{found['table'][0]['rows']} support tickets of five uneven classes, 8% of the labels "
        f"wrong; {found['variants']} variants a row, a student of 3 x 312 with {first} + {second} "
        f"steps. Scores of tickets that were not drawn; points are those above *none*, seed by "
        f"seed. The teacher's macro F1: {statistics.fmean(teachers):.3f}.\n\n"
        + markdown_table(heads, rows)
    )


def spread(own: Mapping[str, Any], times: float, form: str = ".3f") -> str:
    """A mean with its deviation."""
    if own["mean"] is None:
        return "–"
    more = "" if own["sd"] is None else f" ± {times * own['sd']:{form.lstrip('+')}}"
    return f"{times * own['mean']:{form}}{more}"


def general_teachers(found: dict[str, Any]) -> str:
    """What each start of a student is worth."""
    starts = list(dict.fromkeys(line["start"] for line in found["table"]))
    rows = []
    for task in dict.fromkeys(line["task"] for line in found["table"]):
        own = {line["start"]: line for line in found["table"] if line["task"] == task}
        lines = [line for line in found["lines"] if line["task"] == task]
        teacher = statistics.fmean(line["teacher"] for line in lines)
        name = f"{NAMES[task]} ({lines[0]['metric'].replace('_', ' ')})"
        cells = [spread(own[start], 1) if start in own else "–" for start in starts]
        rows.append([name, f"{teacher:.3f}", *cells, str(max(e["seeds"] for e in own.values()))])
    first, second = found["steps"]
    table = markdown_table(["", "teacher", *starts, "seeds"], rows)
    return (
        f"{found['lines'][0]['rows']:,} labels, and the rest of the training file without. A "
        f"student of 3 x 312 in {first} + {second} steps, by what it starts from: its tuned "
        "teacher's layers made narrower, or a general student that the untuned encoder or the "
        f"tuned teacher taught on {found['tokens']:,} tokens, from its layers, too. Scores of "
        f"rows that select nothing.\n\n{table}"
    )


def mean_of(own: Sequence[Mapping[str, Any]], key: str, digits: int) -> str:
    """Over the lines that have it."""
    known = [line[key] for line in own if line.get(key) is not None]
    return f"{statistics.fmean(known):.{digits}f}" if known else "–"


def accelerator(found: dict[str, Any]) -> str:
    """Steps and tokens a second of one device."""
    rows = [
        [
            name, f"{own['steps_per_second']:.1f}", f"{own['tokens_per_second']:,.0f}",
            f"{own['peak_bytes'] / 2**30:.1f}", f"{own['share_of_peak']:.1%}",
        ]
        for name, own in found["parts"].items()
    ]  # fmt: skip
    heads = ["", "steps a second", "tokens a second", "peak GiB", "share of the product's rate"]
    teacher = found["sizes"]["teacher"]
    return (
        f"{found['accelerator']}, one large bfloat16 product at {found['product_tflops']:.0f} "
        f"TFLOP/s; a teacher of {teacher['num_hidden_layers']} x {teacher['hidden_size']} and a "
        f"student of {found['sizes']['student']}, {found['sizes']['batch']} rows a step. "
        f"[docs/distill-speed.md](docs/distill-speed.md).\n\n{markdown_table(heads, rows)}"
    )

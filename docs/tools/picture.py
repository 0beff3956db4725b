"""Draws README's picture: a sentence with its replacements, and below it a student's teacher.

``python -m docs.tools.picture`` writes ``docs/images/overview.svg``; a test compares it. Shapes and
words alone, so that it is read in light and dark, by its two sets of colors.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

TARGET = Path(__file__).parents[1] / "images" / "overview.svg"
WIDTH, HEIGHT = 880, 426
WORDS = ["the", "waiter", "brought", "a", "lukewarm", "soup"]
LEFT = [150, 245, 365, 462, 570, 700]
"""Middle of each word."""
CANDIDATES = {
    1: ["chef", "owner", "boy"],
    2: ["served", "made", "wanted"],
    4: ["tepid", "chilly", "cooled"],
    5: ["stew", "broth", "meal"],
}
FROM_VECTORS = 4
PICKED = {1: 0, 4: 0, 5: 1}
"""Word → which candidate the variant below has."""
LAYERS_OF_TEACHER, LAYERS_OF_STUDENT = 6, 3
STYLE = """
  text { font: 15px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328 }
  .small { font-size: 13px; fill: #57606a } .bold { font-weight: 600 } .c { text-anchor: middle }
  .line { stroke: #8c959f; fill: none } .arrow { stroke: #0969da; fill: none; stroke-width: 1.6 }
  .head { fill: #0969da } .lm { fill: #0550ae } .wv { fill: #953800 }
  .box { fill: #f6f8fa; stroke: #8c959f } .teacher { fill: #ddf4ff; stroke: #0969da }
  .student { fill: #dafbe1; stroke: #1a7f37 }
  .picked-lm { fill: #ddf4ff } .picked-wv { fill: #fff1e5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 } .line { stroke: #6e7681 }
    .arrow { stroke: #58a6ff } .head { fill: #58a6ff } .lm { fill: #79c0ff } .wv { fill: #ffa657 }
    .box { fill: #161b22; stroke: #6e7681 } .teacher { fill: #0c2d4d; stroke: #58a6ff }
    .student { fill: #0f3320; stroke: #3fb950 }
    .picked-lm { fill: #0c2d4d } .picked-wv { fill: #3d2007 }
  }"""


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Words on a line."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str = "box") -> str:
    """A box with round corners."""
    place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return f'<rect {place} rx="5" class="{kind}"/>'


def line(start: tuple[float, float], end: tuple[float, float], kind: str = "line") -> str:
    """A straight line; an arrow has a head at its end."""
    head = ' marker-end="url(#head)"' if kind == "arrow" else ""
    (x1, y1), (x2, y2) = start, end
    return f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" class="{kind}"{head}/>'


def augmentation() -> list[str]:
    """The upper half: candidates above the words that can be replaced, a variant below."""
    drawn = [text(16, 22, "augment", "bold"), text(96, 22, "words that fit, and variants", "small")]
    for word, options in CANDIDATES.items():
        kind = "wv" if word == FROM_VECTORS else "lm"
        for place, option in enumerate(options):
            y = 50 + 20 * place
            if PICKED.get(word) == place:
                drawn.append(box(LEFT[word] - 42, y - 15, 84, 20, f"picked-{kind}"))
            drawn.append(text(LEFT[word], y, option, f"c {kind}"))
        drawn.append(line((LEFT[word], 97), (LEFT[word], 106)))
    for left, word in zip(LEFT, WORDS, strict=True):
        drawn.append(text(left, 124, word, "c bold"))
    drawn += [text(16, 124, "row", "small"), text(16, 156, "variant", "small")]
    for place, (left, word) in enumerate(zip(LEFT, WORDS, strict=True)):
        kind = "wv" if place == FROM_VECTORS else "lm"
        new = CANDIDATES[place][PICKED[place]] if place in PICKED else None
        drawn.append(text(left, 156, new or word, f"c {kind if new else ''}"))
    drawn.append(text(764, 50, "masked LM", "small lm"))
    drawn.append(text(764, 70, "word vectors", "small wv"))
    return drawn


def column(x: float, layers: int, gap: float, kind: str, title: str) -> list[str]:
    """A model: its embeddings, its layers one upon the other, its answer."""
    drawn = [box(x, 366, 180, 24, kind), text(x + 90, 383, "embeddings", "c small")]
    for layer in range(layers):
        y = 336 - gap * layer
        drawn += [box(x, y, 180, 20, kind), text(x + 90, y + 15, f"layer {layer + 1}", "c small")]
    drawn.append(text(x + 90, 197, title, "c bold"))
    return drawn


def distillation() -> list[str]:
    """The lower half: which teacher layer each student layer learns from, and the answers."""
    drawn = [text(16, 197, "distill", "bold")]
    drawn += column(190, LAYERS_OF_TEACHER, 24, "teacher", "teacher, tuned")
    drawn += column(540, LAYERS_OF_STUDENT, 48, "student", "student, small")
    every = LAYERS_OF_TEACHER // LAYERS_OF_STUDENT
    for layer in range(LAYERS_OF_STUDENT):
        start = 346 - 24 * (every * (layer + 1) - 1)
        drawn.append(line((374, start), (534, 346 - 48 * layer), "arrow"))
    drawn.append(line((374, 378), (534, 378), "arrow"))
    drawn += [
        line((374, 192), (534, 192), "arrow"),
        text(750, 196, "stage 2", "small bold"),
        text(750, 214, "its answers", "small"),
        text(750, 300, "stage 1", "small bold"),
        text(750, 318, "hidden states", "small"),
        text(750, 336, "and attention", "small"),
        text(280, 414, "both read row and variant", "c small"),
        text(630, 414, "a transformers folder, or an ONNX file", "c small"),
    ]
    return drawn


def picture() -> str:
    """The whole, as an SVG document."""
    told = (
        "A sentence with words that may replace some of its own above it, and a variant below. "
        "Under it a teacher of six layers and a student of three: each student layer learns the "
        "hidden states and attention of a teacher layer, then the teacher's answers."
    )
    drawn = "\n".join([*augmentation(), line((16, 174), (864, 174)), *distillation()])
    marker = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" class="head"/></marker></defs>'
    )
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(told)}">'
    )
    return f"{opening}\n<style>{STYLE}\n</style>\n{marker}\n{drawn}\n</svg>\n"


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(picture(), encoding="utf-8")

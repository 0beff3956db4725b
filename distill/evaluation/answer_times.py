"""How long texts take from their characters to their labels: the record."""

from __future__ import annotations

from distill.runs.records import Record


class TimeShares(Record):
    """Where the time of an answer goes, in shares of it that add up to 1.

    Attributes:
        tokenize: Texts to tokens.
        model: Tokens to logits: the graph, or PyTorch.
        rest: Making batches, and labels of logits.
    """

    tokenize: float
    model: float
    rest: float


class EndToEnd(Record):
    """How fast a model answers raw texts by ``distill.Classifier``; medians after a warm-up.

    Attributes:
        threads: Threads that the model may use.
        batch_1: Milliseconds for one text; the median is over different texts.
        shares_1: Where they go.
        throughput_32: Texts a second, many given at once: batches of like length, at most 32.
        shares_32: Where that time goes.
    """

    threads: int
    batch_1: float
    shares_1: TimeShares
    throughput_32: float
    shares_32: TimeShares

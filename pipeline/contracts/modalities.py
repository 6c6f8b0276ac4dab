"""What a world says of forecasts by others and of texts. Light: stdlib and pydantic only."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.contracts.world_types import Duration, Instant, Name, Table


class TextColumn(Table):
    """The text of a source's documents; one longer than `longest` characters is rejected."""

    column: str
    longest: int = Field(default=10_000, ge=1)


class FutureVariable(Table):
    """One variable of a forecast by others on a domain's clock.

    `aggregate` is how several of its instants meet one step; a step that none falls on is interpolated linearly where its
    neighbours are no further apart than `interpolate`.
    """

    aggregate: Literal["mean", "sum", "last", "max", "min"] = "mean"
    interpolate: Duration = timedelta(0)
    long_name: str = ""


class FutureInputs(Table):
    """What others forecast for a domain: the runs of one source, as known at each issue time.

    Where the source's places differ from the domain's nodes, a node takes the mean of the `neighbours` nearest places,
    weighted by the inverse distance. A run is used until `reach` after its start (by default as far as the source speaks).
    """

    source: Name
    reach: Duration | None = None
    neighbours: int = Field(default=4, ge=1, le=64)
    variables: dict[Name, FutureVariable]


class TargetGrid(Table):
    """The cells that a domain's grids are brought to: squares of `step` degrees between south, west, north and east, the outer edges.

    `bilinear` takes the value at a cell's middle, `conservative` the mean over its area. A cell of which less than half is known has none.
    """

    bounds: tuple[float, float, float, float]
    step: float = Field(gt=0)
    method: Literal["bilinear", "conservative"] = "bilinear"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        south, west, north, east = self.bounds
        counts = ((north - south) / self.step, (east - west) / self.step)
        if min(counts) < 1 - 1e-6 or max(abs(n - round(n)) for n in counts) > 1e-6:
            raise ValueError(
                f"bounds {self.bounds} are not south, west, north, east with a whole number of steps of {self.step} degrees between"
            )
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        south, west, north, east = self.bounds
        return round((north - south) / self.step), round((east - west) / self.step)


class TextLink(Table):
    """Which places of a stream speak to which nodes: those of the same name, or those within `metres`."""

    by: Literal["id", "distance"]
    metres: float = Field(default=2000.0, gt=0)


class Encoder(Table):
    """A sentence encoder in the layout of sentence-transformers, in a folder, whose vectors are given to the model beside the hashed words.

    Attributes:
        folder: Where it lies: `data://…`, or a path relative to where commands run.
        digest: sha256 of its files, so that another encoder of the same name is refused.
        published: Since when it is there. It knows the language of that day: what is scored before it is told so.
    """

    folder: str
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    published: Instant


class TextStream(Table):
    """Documents of one source that every domain may see for `reach` after each became known.

    Words and sequences of up to `words` words are hashed into `buckets`; of a document the first `longest` of them are kept.
    A domain without a link sees all documents alike at every node. With an `encoder` each document has a vector besides.
    """

    source: Name
    reach: Duration
    buckets: int = Field(default=16384, ge=2, le=2**24)
    words: int = Field(default=2, ge=1, le=4)
    longest: int = Field(default=256, ge=1)
    links: dict[Name, TextLink] = Field(default_factory=dict)
    encoder: Annotated[Encoder | None, Field(exclude_if=lambda encoder: encoder is None)] = None

    @model_validator(mode="after")
    def _lasting(self) -> Self:
        if not self.reach:
            raise ValueError("reach is longer than 0s: for how long a document is seen")
        return self

"""The truth of the made-up world: a drifting weather field, roads that slow down in its rain, prices that follow both.

Everything follows from the seed and the sizes. Shape suffixes: T instants, C cells (row by row), N sensors, I instruments.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.contracts.times import to_seconds
from pipeline.contracts.worlds import Duration, Instant, Zone
from pipeline.sources.stamps import utc_offsets

Feed = Literal["weather", "roads", "prices", "outlook", "notices"]
Array = NDArray[np.float64]
HOUR, DAY = 3600, 86400
CELL_DEGREES = 0.05
SOUTH_WEST = (56.0, 10.0)


class SyntheticOptions(BaseModel):
    """Size and seed of a made-up world; the feeds of one world differ in `feed` only.

    Attributes:
        delivery: A delivery holds what was published in one such interval.
        faults: Whether outages, late rows, revisions, spikes and their like are planted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    feed: Feed
    seed: int = 7
    start: Instant
    days: int = Field(default=21, ge=1, le=36600)
    rows: int = Field(default=8, ge=2, le=1000)
    columns: int = Field(default=8, ge=2, le=1000)
    sensors: int = Field(default=24, ge=1, le=100_000)
    sensor_step: Duration = timedelta(minutes=15)
    instruments: int = Field(default=3, ge=1, le=10_000)
    timezone: Zone = "Europe/Copenhagen"
    delivery: Duration = timedelta(days=1)
    faults: bool = True

    @model_validator(mode="after")
    def _even(self) -> Self:
        for name in ("sensor_step", "delivery"):
            seconds = getattr(self, name).total_seconds()
            if seconds < 60 or DAY % seconds:
                raise ValueError(f"{name} = {getattr(self, name)} does not divide a day, or is under a minute")
        return self


@dataclass(frozen=True, kw_only=True, eq=False)
class Coefficients:
    """What couples the made-up world: the answers that a model should find.

    Attributes:
        velocity: Drift of the weather, cells per hour northwards and eastwards.
        rain_lag: Seconds until rain slows the roads.
        rain_slows, rain_thins: Speed and count shrink by exp(-coefficient * mm/h).
        demand_slows: Share of the free speed lost at demand 1.
        temperature_lag, demand_lag: Seconds until prices follow.
        price_temperature_I: Log price per 10 degC of mean temperature.
        price_demand_I: Log price per unit of mean road demand.
        walk: Standard deviation of the hourly step of the random walk in log price.
    """

    velocity: tuple[float, float] = (0.35, 0.6)
    rain_lag: int = 1800
    rain_slows: float = 0.06
    rain_thins: float = 0.02
    demand_slows: float = 0.35
    temperature_lag: int = 3 * HOUR
    demand_lag: int = 2 * HOUR
    price_temperature_I: Array
    price_demand_I: Array
    walk: float = 0.002


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """The noise-free fields at the instants at which the feeds report (int64 seconds UTC), and what couples them."""

    coefficients: Coefficients
    hour_T: NDArray[np.int64]
    cell_ids: tuple[str, ...]
    cell_place_C2: Array
    temperature_TC: Array
    rain_TC: Array
    road_T: NDArray[np.int64]
    sensor_ids: tuple[str, ...]
    sensor_place_N2: Array
    demand_TN: Array
    rain_felt_TN: Array
    speed_TN: Array
    count_TN: Array
    instrument_ids: tuple[str, ...]
    price_signal_TI: Array
    price_TI: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class _Waves:
    """A sum of plane waves that drift with the wind."""

    k_K2: Array
    phase_K: Array
    height_K: Array
    velocity: tuple[float, float]

    def at(self, hours_T: Array, place_P2: Array) -> Array:
        """(T, P) at places in cells."""
        drift_TK = hours_T[:, None] * (self.k_K2 @ np.array(self.velocity))
        still_PK = place_P2 @ self.k_K2.T + self.phase_K
        out = np.zeros((len(hours_T), len(place_P2)))
        for k, height in enumerate(self.height_K):
            out += height * np.cos(still_PK[:, k] - drift_TK[:, k, None])
        return out


def _waves(rng: np.random.Generator, count: int, shortest: float, longest: float, velocity: tuple[float, float]) -> _Waves:
    length, angle = rng.uniform(shortest, longest, count), rng.uniform(0, 2 * np.pi, count)
    k = 2 * np.pi / length
    return _Waves(
        k_K2=np.stack([k * np.sin(angle), k * np.cos(angle)], axis=1),
        phase_K=rng.uniform(0, 2 * np.pi, count),
        height_K=rng.uniform(0.5, 1.0, count) * np.sqrt(2 / count),
        velocity=velocity,
    )


def _local_hours(seconds_T: NDArray[np.int64], zone: str) -> tuple[Array, NDArray[np.int64]]:
    """Hour of the local day, and local weekday (0 = Monday)."""
    local = seconds_T + utc_offsets(seconds_T, zone)
    return (local % DAY) / HOUR, (local // DAY + 3) % 7


def _demand_shape(seconds_T: NDArray[np.int64], zone: str) -> Array:
    hour, weekday = _local_hours(seconds_T, zone)

    def bump(centre: float, width: float) -> Array:
        return np.exp(-(((hour - centre) / width) ** 2))

    working = 0.08 + 0.8 * bump(8, 1.3) + 0.9 * bump(16.5, 1.8) + 0.3 * bump(12.5, 3)
    resting = 0.06 + 0.45 * bump(14, 4)
    return np.where(weekday < 5, working, resting)


class _Maker:
    """Draws everything random once, in a fixed order, then evaluates fields at any instant."""

    def __init__(self, options: SyntheticOptions) -> None:
        self.options = o = options
        rng = np.random.default_rng([o.seed, 1])
        self.coefficients = Coefficients(
            price_temperature_I=rng.uniform(-0.06, -0.02, o.instruments), price_demand_I=rng.uniform(0.02, 0.06, o.instruments)
        )
        self.start = to_seconds(o.start)
        self.warm = _waves(rng, 10, 6, 30, self.coefficients.velocity)
        self.wet = _waves(rng, 14, 4, 16, self.coefficients.velocity)
        y, x = np.meshgrid(np.arange(o.rows), np.arange(o.columns), indexing="ij")
        self.cells_C2 = np.stack([y.ravel(), x.ravel()], axis=1).astype(np.float64)
        self.sensors_N2 = rng.uniform(0, 1, (o.sensors, 2)) * [o.rows - 1, o.columns - 1]
        self.free_N, self.reach_N = rng.uniform(55, 95, o.sensors), rng.uniform(40, 220, o.sensors)
        self.taste_N = rng.uniform(0.7, 1.2, o.sensors)
        self.day_factor = rng.uniform(0.9, 1.1, o.days + 4)
        self.first_price_I = rng.uniform(40, 160, o.instruments)
        self.steps_TI = rng.normal(0, self.coefficients.walk, (o.days * 24 + 1, o.instruments))

    def temperature(self, seconds_T: NDArray[np.int64], place_P2: Array) -> Array:
        hours = (seconds_T - self.start) / HOUR
        hour, _ = _local_hours(seconds_T, self.options.timezone)
        daily = 3.5 * np.sin(2 * np.pi * (hour - 9) / 24) - 0.1 * hours / 24
        return 10 + daily[:, None] + 2.5 * self.warm.at(hours, place_P2)

    def rain(self, seconds_T: NDArray[np.int64], place_P2: Array) -> Array:
        return np.maximum(self.wet.at((seconds_T - self.start) / HOUR, place_P2) - 0.6, 0) * 5.0

    def demand(self, seconds_T: NDArray[np.int64]) -> Array:
        day = np.clip((seconds_T - self.start) // DAY + 2, 0, len(self.day_factor) - 1)
        return (_demand_shape(seconds_T, self.options.timezone) * self.day_factor[day])[:, None] * self.taste_N


def cell_axes(options: SyntheticOptions) -> tuple[Array, Array]:
    """The latitude of each row of cells, and the longitude of each column, as the table of cells lists them."""
    rows, columns = np.arange(options.rows), np.arange(options.columns)
    return np.round(rows * CELL_DEGREES + SOUTH_WEST[0], 6), np.round(columns * CELL_DEGREES + SOUTH_WEST[1], 6)


def weather_at(options: SyntheticOptions, seconds_T: NDArray[np.int64], place_P2: Array) -> tuple[Array, Array]:
    """(T, P) true temperature and rain at any instants and (latitude, longitude) places."""
    made, cells = _Maker(options), (place_P2 - SOUTH_WEST) / CELL_DEGREES
    return made.temperature(seconds_T, cells), made.rain(seconds_T, cells)


def truth(options: SyntheticOptions) -> Truth:
    """The noise-free world that the feeds of `options` report on; `feed` does not matter."""
    made = _Maker(options)
    c = made.coefficients
    hour_T = made.start + HOUR * np.arange(options.days * 24 + 1, dtype=np.int64)
    step = int(options.sensor_step.total_seconds())
    road_T = made.start + step * np.arange(options.days * DAY // step + 1, dtype=np.int64)
    felt = made.rain(road_T - c.rain_lag, made.sensors_N2)
    demand = made.demand(road_T)
    mean_temperature = made.temperature(hour_T - c.temperature_lag, made.cells_C2).mean(axis=1)
    mean_demand = made.demand(hour_T - c.demand_lag).mean(axis=1)
    signal = c.price_temperature_I * (mean_temperature[:, None] - 10) / 10 + c.price_demand_I * mean_demand[:, None]
    return Truth(
        coefficients=c,
        hour_T=hour_T,
        cell_ids=tuple(f"y{int(y):03d}x{int(x):03d}" for y, x in made.cells_C2),
        cell_place_C2=made.cells_C2 * CELL_DEGREES + SOUTH_WEST,
        temperature_TC=made.temperature(hour_T, made.cells_C2),
        rain_TC=made.rain(hour_T, made.cells_C2),
        road_T=road_T,
        sensor_ids=tuple(f"road{n:05d}" for n in range(options.sensors)),
        sensor_place_N2=made.sensors_N2 * CELL_DEGREES + SOUTH_WEST,
        demand_TN=demand,
        rain_felt_TN=felt,
        speed_TN=made.free_N * (1 - c.demand_slows * np.minimum(demand, 1.5)) * np.exp(-c.rain_slows * felt),
        count_TN=made.reach_N * demand * np.exp(-c.rain_thins * felt),
        instrument_ids=tuple(f"GOOD{i:04d}" for i in range(options.instruments)),
        price_signal_TI=signal,
        price_TI=made.first_price_I * np.exp(signal + np.cumsum(made.steps_TI, axis=0)),
    )

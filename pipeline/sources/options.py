"""A source's `options` table read into an adapter's own model, with faults that name the key and the nearest right one."""

from __future__ import annotations

import difflib
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.contracts.worlds import Source
from pipeline.errors import ConfigError

Options = TypeVar("Options", bound=BaseModel)


def read_options(model: type[Options], source: Source) -> Options:
    """The source's options as `model`.

    Raises:
        ConfigError: A key or a value is not allowed; every fault is named.
    """
    try:
        return model.model_validate(source.options)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            key = ".".join(str(k) for k in fault["loc"]) or "(all)"
            hint, said = "", fault["msg"].removeprefix("Value error, ")
            if fault["type"] == "extra_forbidden":
                said = "no such key"
                close = difflib.get_close_matches(key, model.model_fields, n=1)
                hint = (f"; did you mean '{close[0]}'?" if close else ";") + f" allowed: {', '.join(model.model_fields)}"
            value = "" if isinstance(fault["input"], dict) else f" = {fault['input']!r}"
            faults.append(f"options.{key}{value}: {said}{hint}")
        raise ConfigError(
            asked=f"options of adapter '{source.adapter}'", found="; ".join(faults), mend="correct these keys in the world file"
        ) from error

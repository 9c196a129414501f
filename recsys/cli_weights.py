"""The commands about what there is to encode with: ``recsys encoders``, ``recsys weights ...``."""

import json
from dataclasses import asdict
from itertools import groupby
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recsys.content.listing import ListedEncoder, listed_encoders
from recsys.content.weights.fetch import fetch
from recsys.content.weights.find import cache_folder, find_weights, weights_here
from recsys.content.weights.known import KNOWN, Hub, Installed, Url, Weights, Wheel
from recsys.errors import ArtifactError

__all__ = ["encoders_text"]

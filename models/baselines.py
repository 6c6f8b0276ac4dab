"""placeholder"""
from __future__ import annotations
def fit_baselines(windows): raise NotImplementedError
def load_baselines(state, meta): raise NotImplementedError

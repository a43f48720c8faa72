"""The settings of a training: frozen dataclasses that Python, the command line and ``config.json`` share. No JAX."""

from ichformer.objectives.config import ObjectiveConfig as ObjectiveConfig
from ichformer.training.config.data import DataConfig as DataConfig
from ichformer.training.config.model import ModelConfig as ModelConfig
from ichformer.training.config.optim import OptimConfig as OptimConfig
from ichformer.training.config.parallel import ParallelConfig as ParallelConfig
from ichformer.training.config.train import VERSION as VERSION
from ichformer.training.config.train import TrainConfig as TrainConfig
from ichformer.training.config.train import read_config as read_config

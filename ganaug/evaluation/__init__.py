"""Measuring packs: RCA, DVN, label preservation, what a direction changes and where."""

from ganaug.evaluation.alike import Cosines, cosines
from ganaug.evaluation.change import Change, measure_change
from ganaug.evaluation.descriptors import DescriptionReport, describe
from ganaug.evaluation.dvn import direction_variation_naturalness
from ganaug.evaluation.generated import evaluate
from ganaug.evaluation.inverted import InversionReport, evaluate_inverted
from ganaug.evaluation.judges import ConvNet, find_object, predict, train_classifier, train_segmenter
from ganaug.evaluation.labels import InvertedImages, invert_images, label_hits, safe_ranges
from ganaug.evaluation.masks import PseudoMasks, pseudo_masks
from ganaug.evaluation.own_judge import read_judge
from ganaug.evaluation.progress import Progress
from ganaug.evaluation.quality import Yardstick, measure_quality, prepare_yardstick
from ganaug.evaluation.quality_report import ClassQuality, QualityReport
from ganaug.evaluation.rca import reconstructor_accuracy
from ganaug.evaluation.reconstruction import reconstruction_error
from ganaug.evaluation.report import EvaluationReport

__all__ = [
    "Change",
    "ClassQuality",
    "ConvNet",
    "Cosines",
    "DescriptionReport",
    "EvaluationReport",
    "InversionReport",
    "InvertedImages",
    "Progress",
    "PseudoMasks",
    "QualityReport",
    "Yardstick",
    "cosines",
    "describe",
    "direction_variation_naturalness",
    "evaluate",
    "evaluate_inverted",
    "find_object",
    "invert_images",
    "label_hits",
    "measure_change",
    "measure_quality",
    "predict",
    "prepare_yardstick",
    "pseudo_masks",
    "read_judge",
    "reconstruction_error",
    "reconstructor_accuracy",
    "safe_ranges",
    "train_classifier",
    "train_segmenter",
]

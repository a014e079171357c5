"""Measuring packs: RCA, DVN, label preservation, what a direction changes and where."""

from ganaug.evaluation.change import Change, measure_change
from ganaug.evaluation.classifier import predict, train_classifier
from ganaug.evaluation.data import DATASETS, LabelledImages
from ganaug.evaluation.dvn import direction_variation_naturalness
from ganaug.evaluation.labels import InvertedImages, invert_images, label_hits, safe_ranges
from ganaug.evaluation.pseudo_masks import PseudoMasks, pseudo_masks
from ganaug.evaluation.rca import reconstructor_accuracy
from ganaug.evaluation.redrawing import redrawing_error
from ganaug.evaluation.segmenter import find_object, train_segmenter

__all__ = [
    "DATASETS",
    "Change",
    "InvertedImages",
    "LabelledImages",
    "PseudoMasks",
    "direction_variation_naturalness",
    "find_object",
    "invert_images",
    "label_hits",
    "measure_change",
    "predict",
    "pseudo_masks",
    "reconstructor_accuracy",
    "redrawing_error",
    "safe_ranges",
    "train_classifier",
    "train_segmenter",
]

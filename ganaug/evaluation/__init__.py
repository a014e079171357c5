"""Measuring packs: RCA, DVN, label preservation, what a direction changes and where."""

from ganaug.evaluation.change import Change, measure_change
from ganaug.evaluation.dvn import direction_variation_naturalness
from ganaug.evaluation.judges import find_object, predict, train_classifier, train_segmenter
from ganaug.evaluation.labels import InvertedImages, invert_images, label_hits, safe_ranges
from ganaug.evaluation.masks import PseudoMasks, pseudo_masks
from ganaug.evaluation.rca import reconstructor_accuracy
from ganaug.evaluation.reconstruction import redrawing_error

__all__ = [
    "Change",
    "InvertedImages",
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

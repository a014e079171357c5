import pytest

from ganaug.errors import GeneratorError
from ganaug.generators import MLP


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": ()}, "hidden should be one or more positive integers"),
        ({"activation": "swish"}, "one of relu, leaky_relu; got 'swish'"),
        ({"hidden": (4, 4), "batch_norm": [True]}, "each of the 2 hidden layers, got \\[True\\]"),
        ({"batch_norm_eps": 0}, "batch_norm_eps should be a positive number, got 0"),
    ],
)
def test_impossible_arguments_are_named(options, message):
    with pytest.raises(GeneratorError, match=message):
        MLP(**options)

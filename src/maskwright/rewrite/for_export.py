"""A network as it was trained, rewritten for engines: the same function by fewer and cheaper layers."""

import keras

from maskwright.errors import wrong_argument
from maskwright.rewrite.fold_norms import fold_norms
from maskwright.rewrite.merge_upsampling import merge_enlarging
from maskwright.rewrite.padding import take_in_padding
from maskwright.rewrite.plain_groups import make_groups_plain


def rewrite(network: keras.Model) -> keras.Model:
    """A network that predicts what ``network`` predicts, up to rounding: in float32 about 1e-6 of the values.

    Four rules find their places in the graph by what the layers do, each exact also at the borders:

    - grouped convolutions become Keras' own;
    - zero padding before a convolution of stride 1 becomes that convolution's own;
    - batch normalisation right after a convolution is folded into it;
    - nearest upsampling, joined with another map or not, and the convolution after it become a transposed convolution
      of the small map, plus a convolution of the other.

    A layer that is called twice, or whose output something else reads, stays as it is, and so do models inside the
    model. Inputs, outputs and the names of what stays are those of ``network``, which is not changed; where nothing is
    to be rewritten, it is returned. The new network is one to predict with: its batch normalisations no longer learn.

    Raises:
        WrongArgument: ``network`` is not a functional Keras model.

    >>> from keras import layers
    >>> image = keras.Input((8, 8, 3))
    >>> x = layers.Concatenate()([layers.UpSampling2D(2)(layers.MaxPooling2D()(image)), image])
    >>> x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x))
    >>> [type(layer).__name__ for layer in rewrite(keras.Model(image, x)).layers]
    ['InputLayer', 'MaxPooling2D', 'Conv2DTranspose', 'Conv2D', 'Add']
    """
    if not isinstance(network, keras.Model) or not hasattr(network, "operations"):
        raise wrong_argument("network", network, expected="a functional Keras model")
    return merge_enlarging(fold_norms(take_in_padding(make_groups_plain(network))))

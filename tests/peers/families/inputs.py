"""What each kind of model is asked: fixed random inputs."""
import torch


def tokens(generator, rows=2, length=12):
    return torch.randint(3, 80, (rows, length), generator=generator)


def noise(generator, *shape):
    return torch.randn(*shape, generator=generator)


def image_size(config):
    size = getattr(getattr(config, "vision_config", config), "image_size", 32)
    return size[0] if isinstance(size, (list, tuple)) else size


def with_image_tokens(family, config, generator):
    token = getattr(config, "image_token_id", getattr(config, "image_token_index", None))
    ids = tokens(generator, rows=1)
    return torch.cat([ids[:, :3], torch.full((1, family.image_tokens), token), ids[:, 3:]], 1)


def pixels(config, generator, rows):
    return noise(generator, rows, 3, image_size(config), image_size(config))


def text(family, config, g):
    return dict(input_ids=tokens(g))


def text_to_text(family, config, g):
    return dict(input_ids=tokens(g), decoder_input_ids=tokens(g, length=6))


def image(family, config, g):
    return dict(pixel_values=pixels(config, g, 2))


def image_text_pair(family, config, g):
    return dict(input_ids=tokens(g), pixel_values=pixels(config, g, 2))


def image_and_text(family, config, g):
    return dict(input_ids=with_image_tokens(family, config, g), pixel_values=pixels(config, g, 1))


def image_and_text_to_text(family, config, g):
    return dict(input_ids=with_image_tokens(family, config, g), pixel_values=noise(g, 1, 3, 16, 16), decoder_input_ids=tokens(g, 1, 6))


def images_and_text(family, config, g):
    return dict(input_ids=with_image_tokens(family, config, g), pixel_values=pixels(config, g, 1)[None])


def sized_image_and_text(family, config, g):
    size = image_size(config)
    return dict(image_and_text(family, config, g), image_sizes=torch.tensor([[size, size]]))


def tiles_and_text(family, config, g):
    size = image_size(config)
    return dict(input_ids=with_image_tokens(family, config, g), pixel_values=noise(g, 1, 2, 3, size, size),
                image_sizes=torch.tensor([[size, size]]))


def patches_and_text(family, config, g):
    side = config.vision_config.patch_size
    ids = with_image_tokens(family, config, g)
    return dict(input_ids=ids, pixel_values=noise(g, 16, 3 * 2 * side * side), image_grid_thw=torch.tensor([[1, 4, 4]]),
                mm_token_type_ids=(ids == config.image_token_id).int())


def sound(family, config, g):
    return dict(input_values=noise(g, 2, 400))


def spectrogram_to_text(family, config, g):
    return dict(input_features=noise(g, 1, config.num_mel_bins, 2 * config.max_source_positions), decoder_input_ids=tokens(g, 1, 6))


def frames_to_text(family, config, g):
    return dict(input_features=noise(g, 1, 32, config.input_feat_per_channel), decoder_input_ids=tokens(g, 1, 6))


def sound_text_pair(family, config, g):
    return dict(input_ids=tokens(g), input_features=noise(g, 2, 1, 16, 16))


def make_inputs(family, config):
    return globals()[family.inputs](family, config, torch.Generator().manual_seed(11))

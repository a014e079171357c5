from ganaug.inversion import InvertedFolder


def test_latents_are_stored_beside_the_images(run, inverting_pack, photos, tmp_path):
    folder, images = inverting_pack.save_pretrained(tmp_path / "tiny"), photos("3", "8", count=2)
    text = run("invert", images, "--pack", folder, "--batch-size", 3, "--refine-steps", 1)
    assert f"latents in {images / 'latents.safetensors'}" in text
    assert InvertedFolder(images, inverting_pack).latents.shape == (4, 8)
    assert InvertedFolder(images, inverting_pack).drawn_as == [3, 3, 8, 8]

import re
from pathlib import Path

from fer_core.data import protocol

DOCS = Path(__file__).parents[4] / "docs" / "datasets.md"


def test_the_adapter_that_the_docs_show_reads_its_dataset(tmp_path, write):
    (code,) = re.findall(r'```python\n("""AFEW.*?)```', DOCS.read_text(), re.DOTALL)
    for part, folder in [("Train", "Angry"), ("Train", "Happy"), ("Val", "Sad"), ("Val", "Bored")]:
        for number in range(5):
            write(tmp_path / f"{part}_AFEW" / folder / f"00{number}.avi")
    namespace = {}

    exec(code, namespace)
    manifest = namespace["DATASET"].manifest(tmp_path)

    shown = {(clip.emotion, clip.part) for clip in manifest.clips}
    assert shown == {("anger", "train"), ("happiness", "train"), ("sadness", "test")}
    assert len(manifest.left_out) == 5
    protocol.check(namespace["DATASET"].protocols["official"].split(manifest), manifest)
    assert len(code.splitlines()) <= 26

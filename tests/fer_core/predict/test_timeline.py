import cv2

from fer_core.predict import model_folder
from fer_core.predict.on_video import predict
from fer_core.predict.timeline import draw


def test_the_picture_is_drawn(votes, clip, tmp_path):
    draw(predict(model_folder.load(votes), clip.path), "a clip", tmp_path / "drawn.png")

    picture = cv2.imread(str(tmp_path / "drawn.png"))
    assert picture.shape[0] > 400
    assert picture.shape[1] > 800
    assert picture.std() > 20

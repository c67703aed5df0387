"""One setting chooses the source."""

from ml.shop.completejourney import CompleteJourneySource
from ml.shop.files import FilesSource
from ml.shop.sources import open_source


def test_the_default_is_the_complete_journey(configure):
    assert isinstance(open_source(configure()), CompleteJourneySource)


def test_files_are_chosen_by_a_setting(configure, tmp_path):
    source = open_source(configure(source="files", files_dir=tmp_path))
    assert isinstance(source, FilesSource)
    assert source.name == "files"

"""A page as a browser would take it apart."""

from html.parser import HTMLParser

_VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Checks that tags are balanced; collects images, texts and everything a browser would
    fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.places: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)
        values = dict(attrs)
        if tag == "img":
            self.images.append(values)
        if tag == "a":  # followed by a reader, not by the browser
            self.links.append(values.get("href") or "")
        else:
            keys = ("src", "href", "srcset")
            self.fetched += [values[key] or "" for key in keys if key in values]
        if "id" in values:
            self.places.append(values["id"] or "")
        assert tag not in ("script", "iframe", "object", "link")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

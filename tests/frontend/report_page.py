"""A report's page as a reader sees it, and a name that wants to be more than a name."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = "</td><script>alert('x')</script>\"'&$\\alpha$\x1b[31m\u202e{{ 7*7 }}%\n--> \ud800".replace("\ud800", "")


class Page(HTMLParser):
    """Tags, attributes, visible text and section titles of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.titles: list[str] = []
        self._tag = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._tag == "h2":
            self.titles.append(data.strip())
        self._tag = ""

    @property
    def text(self) -> str:
        """All text, with single spaces."""
        return " ".join(" ".join(self.texts).split())

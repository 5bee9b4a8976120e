"""How k-means is done, and what that takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clframe.errors import OptionError, bad_option, unknown_name
from clframe.selection.clustering.nearest import KERNELS
from clframe.selection.pool.pool import BLOCK

SEEDINGS = ("auto", "random", "k-means++", "afk-mc2")
TRAINERS = ("auto", "faiss", "lloyd", "super")
SEARCHES = ("auto", "exact", "ivf", "hnsw")
PROBES = {"exact": 0, "ivf": 16, "hnsw": 64}
EXACT = 8192
"""Cells up to which all centres are compared."""
FITS = 2**26
"""Bytes of rows trained on that are held at once: 64 MiB."""
KEPT = 2**22
"""Rows of a pool up to which cells and distances, 8 bytes a row, are held in memory."""
SUPER_CELLS, SUPER_WIDTH = 1024, 128
SUPER_PAYS = 512
"""Numbers of an embedding from which SuperKMeans was faster: 0.7 times the time at 768, 1.0 to 1.24 at 256, three times at 128."""


@dataclass(frozen=True)
class KMeans:
    """How k-means is done.

    Attributes:
        k: cells; 0: sqrt(n), at most 4,096 and at most a 39th of the rows that it is trained on.
        iterations: of Lloyd.
        points: rows per cell that it is trained on, drawn at random from a larger pool.
        seeding: "random", "k-means++", "afk-mc2", or "auto", the last for up to 2,048 cells and random beyond.
        spherical: scale embeddings to length 1 first, for cosine distances.
        kernel: what finds nearest centres; see `clframe.selection.clustering.nearest.kernel`. All of them find the same.
        trainer: "faiss", in memory; "lloyd", the same by blocks of rows that are kept in files, on any number of processes;
            "super", faiss' SuperKMeans, in memory, for Euclidean cells, at least 1,024 of them, of at least 128 numbers; "auto":
            "lloyd" where the rows trained on are more than 64 MiB, else "super" where it can be used and rows have 512 numbers or
            more, else "faiss".
        levels: 2 makes about sqrt(k) coarse cells first, and divides each of them into cells in proportion to its rows.
        search: "exact"; "ivf" or "hnsw", faiss' approximate searches, for very many cells; "auto": exact up to 8,192 cells, then
            ivf. It changes which cell a row is in; the distance is always the true one to the centre of that cell.
        probes: lists that ivf looks through, candidates that hnsw keeps; 0: 16 and 64.
        balanced: no cell has more rows than this many times n / k, rounded up; at least 1; 0 for no limit.

    Raises:
        OptionError: an option breaks its rule.
    """

    k: int = 0
    iterations: int = 10
    points: int = 256
    seeding: str = "auto"
    spherical: bool = False
    kernel: str = "auto"
    trainer: str = "auto"
    levels: int = 1
    search: str = "auto"
    probes: int = 0
    balanced: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("k", 0), ("iterations", 1), ("points", 1), ("probes", 0)):
            if getattr(self, name) < least:
                raise bad_option(name, f"an integer of at least {least}", getattr(self, name), f"Leave {name} out.")
        known = {"seeding": SEEDINGS, "kernel": ("auto", *KERNELS), "trainer": TRAINERS, "search": SEARCHES}
        for name, names in known.items():
            if getattr(self, name) not in names:
                raise unknown_name(name, getattr(self, name), names)
        if self.levels not in (1, 2):
            raise bad_option("levels", "1 or 2", self.levels, "Leave levels out.")
        if self.balanced and not (1 <= self.balanced < math.inf):
            raise bad_option("balanced", "0 for no limit, or a number of at least 1", self.balanced, "Give balanced=2.")
        if self.probes and self.search not in ("ivf", "hnsw"):
            raise bad_option("probes", "left out where the search is not ivf or hnsw", self.probes, "Give search='ivf'.")

    def cells(self, n: int) -> int:
        """k for a pool of n rows.

        Raises:
            OptionError: more cells than rows.

        Example:
            >>> KMeans().cells(10_000), KMeans(k=7).cells(10_000)
            (100, 7)
        """
        if self.k > n:
            raise bad_option("k", f"at most the {n:,} rows of the pool", self.k, "Give a smaller k.")
        return self.k or max(1, min(math.isqrt(n), 4096, n // 39))

    def trained_by(self, n: int, d: int) -> str:
        """What trains on a pool of n rows of d numbers.

        Raises:
            OptionError: "super" is asked for where it cannot be used.

        Example:
            >>> [KMeans(k=k).trained_by(n, d) for k, n, d in ((1024, 10**5, 128), (1024, 30_000, 512), (4096, 10**7, 128))]
            ['faiss', 'super', 'lloyd']
        """
        k = self.cells(n)
        able = not self.spherical and k >= SUPER_CELLS and d >= SUPER_WIDTH and self.levels == 1 and self.seeding == "auto"
        if self.trainer == "super" and not able:
            got = f"{k:,} {'spherical ' * self.spherical}cells of {d} numbers, levels={self.levels}, seeding={self.seeding!r}"
            rule = f"Euclidean cells on one level, at least {SUPER_CELLS:,}, of at least {SUPER_WIDTH} numbers, and no seeding"
            raise OptionError(f"trainer 'super' must have {rule}; got {got}. Leave trainer out.")
        if self.trainer != "auto":
            return self.trainer
        if 4 * min(n, k * self.points) * d > FITS:
            return "lloyd"
        return "super" if able and d >= SUPER_PAYS else "faiss"

    def searched_by(self, k: int) -> tuple[str, int]:
        """What finds the cell of each row, and with how many probes.

        Example:
            >>> KMeans().searched_by(4096), KMeans().searched_by(20_000), KMeans(search="hnsw", probes=32).searched_by(20_000)
            (('exact', 0), ('ivf', 16), ('hnsw', 32))
        """
        name = self.search if self.search != "auto" else ("exact" if k <= EXACT else "ivf")
        return name, self.probes or PROBES[name]

    def memory(self, n: int, d: int) -> float:
        """Bytes that making cells of n rows of d numbers takes at most, about, in each process that takes part.

        Rows trained on, where they are held in memory, twice for SuperKMeans; a block of rows with its products; centres and sums;
        8 bytes a row of pools of up to 4 million; 170 MB for buffers: 20 to 165 MB were seen, as allocators keep what was freed.

        Example:
            >>> round(KMeans(k=500).memory(400_000, 64) / 1e6), round(KMeans(k=4096).memory(10**7, 128) / 1e6)
            (223, 210)
        """
        k, trainer = self.cells(n), self.trained_by(n, d)
        trained = {"faiss": 4, "super": 8, "lloyd": 0}[trainer] * min(n, k * self.points) * d
        return max(trained, 12 * k * d) + 16 * BLOCK * d + (8 * n if n <= KEPT else 0) + 1.7e8

    def disk(self, n: int, d: int) -> float:
        """Bytes of files while cells are made: rows trained on by blocks, sums of blocks, and 8 bytes a row of a larger pool.

        Example:
            >>> KMeans(k=500).disk(400_000, 64), round(KMeans(k=4096).disk(10**7, 128) / 1e6)
            (0.0, 685)
        """
        k, trainer = self.cells(n), self.trained_by(n, d)
        m = min(n, k * self.points)
        by_blocks = (4 * m * d * (m < n) + 8 * k * (d + 2) * m / (4 * BLOCK)) if trainer == "lloyd" else 0.0
        return by_blocks + (8 * n if n > KEPT else 0)

"""k-center: rows such that none of the pool is far from all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.seeding import rng
from clframe.selection.choice import Ask, Choice
from clframe.selection.methods.owners import Owners


@final
@dataclass(frozen=True)
class KCenter:
    """m rows, each the one that is farthest from all that were chosen before it; the first at random.

        i_t = argmax_i min_{s < t} ||x_i - x_{i_s}||,   w_t = how many rows have i_t as their nearest chosen one
        radius = max_i min_t ||x_i - x_{i_t}||  <=  2 (the least that any m centres can have)

    Half the radius is therefore a lower bound of what is possible; both are in the manifest. What is chosen lies at the rim of the
    pool and takes outliers first. The choice is not random: it says nothing of the mean loss. Of rows equally far the first is
    taken.

    Cost: O(n m d) at most; blocks that cannot hold the farthest row are not read, and the manifest has how often the pool was read
    (passes). Memory: 8 n + 4 m d bytes and one block.

    Args:
        spherical: scale embeddings to length 1 first, so that distances are those of directions.

    Raises:
        DataError: an embedding that is not finite; the rows are named.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> choice = KCenter()(Ask(pool_of([[0.0], [1.0], [2.0], [9.0]]), size=2, seed=0))  # begins with row 1
        >>> choice.rows.tolist(), choice.weight.tolist(), choice.score.tolist(), choice.facts["radius"]
        ([1, 3], [3.0, 1.0], [8.0, 8.0], 1.0)

    The score of a row is how far it was from those before it; the first has that of the second.

    Reference: Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985; Sener, Savarese, "Active learning for
        convolutional neural networks: a core-set approach", ICLR 2018, algorithm 1.

    Differences:
        1. Starts from one random row; Sener and Savarese start from those that are labelled already.
        2. No second stage that leaves out outliers by mixed-integer programming.
        3. Rows have weights; there they have none.
    """

    spherical: bool = False

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        owners, score = Owners(ask.pool, ask.size, self.spherical), []
        owners.add(int(rng(ask.seed, "k-center").integers(ask.pool.n)))
        while len(owners.rows) < ask.size:
            row, far = owners.farthest()
            owners.add(row)
            score.append(far)
        owners.settle()
        distances = owners.distances
        radius = float(distances.max())
        facts = {
            "radius": radius,
            "least_possible_radius": radius / 2,
            "mean_distance": float(distances.mean()),
            "passes": round(owners.reads / len(ask.pool.starts), 3),
        }
        first = score[0] if score else radius
        return Choice.fixed(np.array(owners.rows), owners.sizes.astype(np.float64), np.array([first, *score]), **facts)

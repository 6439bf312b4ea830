-- Room for the next versions of a run's row on its page.
--
-- Most appends change the row of a run, and leave what is indexed as it is: such an update stays on its page, and touches no
-- index, as long as there is room. What it replaced can be reused only when no statement sees it any more; with several
-- statements on their way, a row takes three versions' room. Measured at 256 runs: one update in six did not find it, and
-- wrote to five indexes instead.
--
-- Pages that are full already stay as they are. Runs that have ended take more of the disk than they would.
ALTER TABLE run SET (fillfactor = 35);

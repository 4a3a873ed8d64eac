"""One test of each promise, for the short run: those that have them whole are long."""

import sys
import unittest

import equality_test
import fault_test
import resume_test

CHOSEN = {
    equality_test: ["Blocks.test_are_equal_for_any_workers_partition_and_transport", "Bits", "Curves.test_fp32_agrees_to_1e_4_over_10_steps"],
    fault_test: ["Ends.test_a_rank_that_lives_and_does_not_come_is_named", "Ends.test_two_ranks_that_die_at_once",
                 "Stops.test_gsplit_stop_under_mpirun"],
    resume_test: ["Exactness.test_another_number_of_workers_agrees_in_fp64", "Kills.test_a_rank_that_dies_leaves_a_run_to_resume"],
}

if __name__ == "__main__":
    suite = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromName(name, module)
                               for module, names in CHOSEN.items() for name in names)
    sys.exit(not unittest.TextTestRunner().run(suite).wasSuccessful())

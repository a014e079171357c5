"""Processes in which no other test has run, to be killed."""

import multiprocessing


def start(function, *arguments):
    """Call a function in a process that a server of its own forks: in this one other tests may have started autograd's
    threads, which do not survive a fork."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "ganaug.generators", "ganaug.training"])
    process = context.Process(target=function, args=arguments)
    process.start()
    return process

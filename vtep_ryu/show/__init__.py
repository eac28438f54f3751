"""What people and programs are told who ask: pure, as core/ is, from which it reads. Each answer is made in two steps.

First a document: dictionaries, lists, numbers and text, which is what ``--format json`` gives. Then, from nothing but
that, the text for people. So whatever is to be seen is in both. What can be long yields now and then while it is made.
"""

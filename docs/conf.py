"""Sphinx's configuration: the pages as HTML, those in man/ as manual pages too. ``make docs`` builds both."""

import os

import ovs.util

from vtep_ryu import __version__

# Of what --help is made of, the manual page shows what is so in a package.
os.environ["OVS_RUNDIR"], os.environ["OVS_LOGDIR"] = "/run/openvswitch", "/var/log/openvswitch"
ovs.util.PROGRAM_NAME = "vtep-ryu"

project = "vtep_ryu"
author = "vtep_ryu"
version = release = __version__

extensions = ["oslo_config.sphinxext", "sphinxarg.ext"]
highlight_language = "none"
html_theme = "alabaster"
html_theme_options = {"description": "A VXLAN hardware VTEP", "page_width": "1200px", "sidebar_includehidden": False}
html_show_copyright = False

man_pages = [
    ("man/vtep-ryu", "vtep-ryu", "make an Open vSwitch bridge a VXLAN hardware VTEP", "", 8),
    ("man/vtep_ryu.conf", "vtep_ryu.conf", "configuration of vtep_ryu", "", 5),
]
man_show_urls = True

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class BuildWithPth(build_py):
    """Adds the file that loads vtep_ryu.compat at interpreter start; it sorts after the file of an editable install."""

    def run(self):
        super().run()
        site_packages = self.get_finalized_command("install").install_lib if self.editable_mode else self.build_lib
        self.mkpath(site_packages)
        Path(site_packages, "vtep_ryu.pth").write_text("import vtep_ryu.compat; vtep_ryu.compat.install()\n")


setup(
    name="vtep_ryu",
    version="0.1.0",
    description="A VXLAN hardware VTEP made of one Open vSwitch bridge and one Ryu application",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: System :: Networking",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["vtep_ryu", "vtep_ryu.*"]),
    install_requires=[
        "ryu==4.34",
        "eventlet>=0.36",
        "oslo.config>=9",
        "ovs>=3.4",
        "netaddr>=0.8",
        "prometheus-client>=0.20",
    ],
    entry_points={
        "console_scripts": ["vtep-ryu = vtep_ryu.command.main:main"],
        "oslo.config.opts": ["vtep_ryu = vtep_ryu.options:list_opts"],
    },
    cmdclass={"build_py": BuildWithPth},
)

"""Contexts in containers and in the namespaces of other processes, by the program that enters them: a table row each.

    scheme    what runs here, before Python's own words                              URL
    docker    docker exec --interactive [--user=U] CONTAINER                         docker://user@container
              docker run --rm --interactive --init ... --entrypoint=PYTHON IMAGE     docker: and image=
    podman    the same words behind `podman`                                         podman://user@container
    kubectl   kubectl exec --stdin ... [--namespace=N] [--container=C] POD --        kubectl://namespace/pod/container
    lxc       lxc-attach --name=CONTAINER --clear-env ... --                         lxc://container
    nspawn    systemd-nspawn --pipe --as-pid2 ... [--user=U] --directory=FOLDER --   nspawn://user@/folder
    nsenter   env -i PATH=... nsenter --target=PID --all ... --                      nsenter://pid

No shell is in between, so nothing has to be quoted. Killing the program doesn't end what it started in a container:
that sees the end of its link and leaves, or is killed by its watchdog. lxc-attach and nsenter would hand on the
environment of this process, with whatever secrets are in it: they hand on a PATH alone.
"""

import os

from plasmid.connect.connector import Connector, split_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple, Union

    # A word as it is; or what stands before the value of a parameter, and its name: left out where that is None.
    Word = Union[str, Tuple[str, str]]

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Container(Connector):
    """What the rows have in common; all parameters are keywords.

    Besides those of any connector there are the ones that `words` names, and two that are called after the scheme:
    docker_path, the program, and docker_args, further arguments for it, which come first.
    """

    # A row. place: the parameter that names what is entered. before: words in front of the program. words: those
    # behind it and the user's arguments.
    place = ""
    default_path = ""
    before: "Tuple[str, ...]" = ()
    words: "Tuple[Word, ...]" = ()

    has_shell = False

    def __init_subclass__(cls) -> None:
        own = tuple(word[1] for word in cls.words if isinstance(word, tuple))
        cls.PARAMETERS = own + (cls.scheme + "_path", cls.scheme + "_args") + Connector.PARAMETERS

    def __init__(
        self,
        name: "Optional[str]" = None,
        python_path: "Union[str, List[str], None]" = None,
        connect_timeout: float = 30.0,
        **parameters: "Any",
    ) -> None:
        unknown = sorted(set(parameters) - set(self.PARAMETERS))
        if unknown:
            raise TypeError("%s takes no %s=; there are %s" % (self.scheme, unknown[0], ", ".join(self.PARAMETERS)))
        if self.place not in parameters:
            raise TypeError("%s needs %s=" % (self.scheme, self.place))
        self._path = parameters.pop(self.scheme + "_path", self.default_path)
        self._args = list(parameters.pop(self.scheme + "_args", ()))
        self._parameters = {key: self._checked(key, value) for key, value in parameters.items() if value is not None}
        Connector.__init__(self, name or self._parameters[self.place], python_path, connect_timeout)

    def _checked(self, key: str, value: "Any") -> str:
        """Return a parameter as it stands on the command line, if the program can't misread it there."""
        text = str(value)
        if not text or text.startswith("-") or not text.isprintable():
            raise ValueError(
                "%s= for %s must be printable, not empty and not start with '-'; it is %r" % (key, self.scheme, value)
            )
        return text

    def spec(self) -> "Dict[str, Any]":
        spec: "Dict[str, Any]" = {key: getattr(self, key) for key in Connector.PARAMETERS}
        spec.update(self._parameters, scheme=self.scheme)
        spec[self.scheme + "_path"], spec[self.scheme + "_args"] = self._path, self._args
        return spec

    @classmethod
    def url_fields(cls, url: str, rest: str) -> "Dict[str, Any]":
        """Take `user@place` apart; a user makes sense where the program takes one."""
        user, place = (None, rest) if "username" not in cls.PARAMETERS else split_user(url, rest)
        if not place:
            raise ValueError("%r: there is no %s behind %s://" % (url, cls.place, cls.scheme))
        fields = {cls.place: place}
        if user is not None:
            fields["username"] = user
        return fields

    @property
    def target(self) -> str:
        user = self._parameters.get("username")
        return "%s://%s%s" % (self.scheme, "%s@" % user if user else "", self._parameters[self.place])

    @property
    def program(self) -> str:
        return os.path.basename(str(self._path))

    def argv(self, first_stage: str, ps_name: str) -> "List[str]":
        return self._before_python(self.words) + self._python_argv(first_stage, ps_name)

    def _before_python(self, words: "Tuple[Word, ...]") -> "List[str]":
        argv = list(self.before) + [os.path.expanduser(self._path)] + self._args
        for word in words:
            if isinstance(word, str):
                argv.append(word)
            elif word[1] in self._parameters:
                argv.append(word[0] + self._parameters[word[1]])
        return argv


_NO_PYTHON = (
    "There is no such program in it: install Python 3 there, or name it with python_path= (some images call it "
    "`python`)."
)
_NO_USER = "There is no such user in it: check username=."
_NOT_ROOT = "This takes root: start it by way of router.sudo()."

# Of the runtimes below docker, podman and Kubernetes: runc and crun, older and newer.
_RUNTIME_FAILURES = (
    ("executable file not found", _NO_PYTHON),
    ("executable file `", _NO_PYTHON),
    ("command that was not found", _NO_PYTHON),
    ("no such file or directory: unknown", _NO_PYTHON),
    ("unable to find user", _NO_USER),
    ("no matching entries in passwd", _NO_USER),
    ("not a directory: unknown", _NO_PYTHON),
)


class Engine(Container):
    """Run Python in a running container, or in a new one that is made for the context and removed with it.

    container: its name or id. image: what a new one is made from, instead of that; run_args: further arguments of
    `run` for it, such as ["--network=none"]. username: with `:group` too, or numbers, as the engine takes it.
    """

    place = "container"
    words = ("exec", "--interactive", ("--user=", "username"), ("", "container"))
    run_words: "Tuple[Word, ...]" = (
        "run",
        "--rm",
        "--interactive",
        "--init",  # PID 1 of a container can't be killed from inside, not even by its watchdog
        "--log-driver=none",  # what comes over the link would be written down
        ("--user=", "username"),
    )

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.PARAMETERS = ("image", "run_args") + cls.PARAMETERS

    def __init__(self, **parameters: "Any") -> None:
        is_new = parameters.get("image") is not None
        if is_new == (parameters.get("container") is not None):
            raise TypeError("%s needs container= or image=, one of them" % self.scheme)
        self.place = "image" if is_new else "container"
        self._run_args = list(parameters.pop("run_args", ()))
        if self._run_args and not is_new:
            raise TypeError("%s takes run_args= for a new container alone, with image=" % self.scheme)
        super().__init__(**parameters)

    def spec(self) -> "Dict[str, Any]":
        return dict(super().spec(), run_args=self._run_args)

    @classmethod
    def url_fields(cls, url: str, rest: str) -> "Dict[str, Any]":
        """Take `user@container` apart. `docker:` leaves what is entered to image=."""
        return {} if url == cls.scheme + ":" else super().url_fields(url, rest)

    @property
    def target(self) -> str:
        known = self._parameters
        return "%s (image %s)" % (self.scheme, known["image"]) if "image" in known else super().target

    def argv(self, first_stage: str, ps_name: str) -> "List[str]":
        if "image" not in self._parameters:
            return super().argv(first_stage, ps_name)
        # As its entry point: that of the image, if it has one, would take Python's words for its own.
        python, *words = self._python_argv(first_stage, ps_name)
        return (
            self._before_python(self.run_words)
            + self._run_args
            + [
                "--entrypoint=" + python,
                self._parameters["image"],
            ]
            + words
        )


_NO_IMAGE = "The engine has no such image and can't get one: check image=, or pull or build it before."
_NO_INIT = "The engine lacks its init program, docker-init or catatonit: install it there."
_IMAGE_FAILURES = (
    ("docker-init", _NO_INIT),
    ("container-init", _NO_INIT),
    ("catatonit", _NO_INIT),
    ("no such image", _NO_IMAGE),
    ("image not known", _NO_IMAGE),
    ("pull access denied", _NO_IMAGE),
    ("manifest unknown", _NO_IMAGE),
    ("unable to find image", _NO_IMAGE),
)


class Docker(Engine):
    """The engine is Docker's."""

    scheme = "docker"
    default_path = "docker"
    known_failures = (
        (
            ("no such container", "`docker ps` lists those that run: check the name, and which engine it asks."),
            ("is not running", "Start it with `docker start`; `docker logs` may say why it ended."),
            ("is paused", "`docker unpause` lets it go on."),
            ("is restarting", "It ends again and again: `docker logs` may say why."),
            (
                "permission denied while trying to connect",
                "The engine's socket is open to root and its group, mostly `docker`, alone: join that group, or start "
                "this by way of router.sudo().",
            ),
            (
                "dial unix",
                "The engine's socket can't be opened: check that it runs, and DOCKER_HOST or `docker context`.",
            ),
            ("cannot connect to the docker daemon", "Check that the engine runs, and DOCKER_HOST or `docker context`."),
            ("error during connect", "The engine can't be reached: check DOCKER_HOST or `docker context`."),
            ("context not found", "`docker context ls` lists those that there are."),
        )
        + _IMAGE_FAILURES
        + _RUNTIME_FAILURES
    )


class Podman(Engine):
    """The engine is Podman's, of the user that this runs as."""

    scheme = "podman"
    default_path = "podman"
    known_failures = (
        (
            (
                "no such container",
                "`podman ps` lists those that run. Each user has containers of their own, and root has others: "
                "see router.sudo().",
            ),
            ("can only create exec sessions on running containers", "Start it with `podman start`."),
            ("is not running", "Start it with `podman start`; `podman logs` may say why it ended."),
            ("is paused", "`podman unpause` lets it go on."),
            (
                "unable to connect to podman",
                "Check that the service or the machine runs: `podman system connection list`.",
            ),
        )
        + _IMAGE_FAILURES
        + _RUNTIME_FAILURES
    )


class Kubectl(Container):
    """Run Python in a running pod. container: of those in the pod, the default one if None. namespace: likewise.

    kubectl_args: ["--context", "lab"] and the like. What may be entered is up to the cluster: `create` of `pods/exec`.
    """

    scheme = "kubectl"
    place = "pod"
    default_path = "kubectl"
    words = (
        "exec",
        "--stdin",
        "--quiet",
        ("--namespace=", "namespace"),
        ("--container=", "container"),
        ("", "pod"),
        "--",
    )
    known_failures = (
        ("namespaces ", "`kubectl get namespaces` lists those that there are."),
        ("(notfound)", "`kubectl get pods` lists those that there are: check the name, namespace= and the context."),
        ("pod does not exist", "The node knows no such pod any more: `kubectl get pods` lists those that there are."),
        ("is not valid for pod", "The pod has no such container: its message lists those that it has."),
        ("container not found", "The container doesn't run (yet): see `kubectl describe pod`."),
        ("cannot exec into a container in a completed pod", "The pod has ended: `kubectl logs` may say why."),
        ("does not have a host assigned", "The pod hasn't been given a node yet: see `kubectl describe pod`."),
        ("(forbidden)", "The cluster doesn't let you do this: you need `create` of `pods/exec` in that namespace."),
        ("(unauthorized)", "The cluster doesn't know you: your credentials may be missing or out of date."),
        ("must be logged in", "The cluster doesn't know you: your credentials may be missing or out of date."),
        ("context was not found", "`kubectl config get-contexts` lists those that there are."),
        ('" does not exist', "`kubectl config get-contexts` lists those that there are."),
        ("did you specify the right host or port", "The cluster can't be reached: check the context and the VPN."),
        ("unable to connect to the server", "The cluster can't be reached: check the context and the VPN."),
        ("unable to upgrade connection", "Something between here and the node lets no streams through, or forbids it."),
    ) + _RUNTIME_FAILURES

    @classmethod
    def url_fields(cls, url: str, rest: str) -> "Dict[str, Any]":
        """Take `pod`, `namespace/pod` or `namespace/pod/container` apart."""
        parts = rest.split("/")
        if not all(parts) or len(parts) > 3:
            raise ValueError(
                "%r: write kubectl://pod, kubectl://namespace/pod or kubectl://namespace/pod/container" % url
            )
        return dict(zip(("pod",) if len(parts) == 1 else ("namespace", "pod", "container"), parts))

    @property
    def target(self) -> str:
        known = self._parameters
        if "namespace" not in known and "container" in known:
            return "kubectl://%s (container %s)" % (known["pod"], known["container"])
        return "kubectl://" + "/".join(known[key] for key in ("namespace", "pod", "container") if key in known)


class Lxc(Container):
    """Run Python in a running container of LXC's, as root there."""

    scheme = "lxc"
    place = "container"
    default_path = "lxc-attach"
    words = (("--name=", "container"), "--clear-env", "--set-var=" + PATH, "--")
    known_failures = (
        ("failed to get init pid", "`lxc-ls --running` lists those that run; start it with `lxc-start`."),
        ("is not running", "`lxc-ls --running` lists those that run; start it with `lxc-start`."),
        ("no such file or directory - failed to exec", _NO_PYTHON),
        ("permission denied", _NOT_ROOT),
        ("operation not permitted", _NOT_ROOT),
    )


class Nspawn(Container):
    """Run Python as the only program of a container made from a folder, which is there for as long as the context.

    folder: the absolute path of a root file system. One container at a time can have it, unless nspawn_args say
    ["--ephemeral"] or ["--volatile=overlay"]. The network is the machine's own without ["--private-network"].
    """

    scheme = "nspawn"
    place = "folder"
    default_path = "systemd-nspawn"
    words = (
        "--quiet",
        "--pipe",
        "--as-pid2",  # PID 1 of a container can't be killed from inside, not even by its watchdog
        # Neither needs systemd as this machine's PID 1.
        "--register=no",
        "--keep-unit",
        ("--user=", "username"),
        ("--directory=", "folder"),
        "--",
    )
    known_failures = (
        ("failed to resolve path", "There is no such folder."),
        ("doesn't look like it has an os tree", "Name the top folder of a root file system: it has /usr, and so on."),
        ("directory tree", "Another container has the folder: see nspawn_args= about using one more than once."),
        ("need to be root", _NOT_ROOT),
        ("operation not permitted", _NOT_ROOT),
        ("failed to resolve user", "Its `getent` knows no such user, or it has no getent: check username=."),
        ("no such file or directory", _NO_PYTHON),
    )

    def _checked(self, key: str, value: "Any") -> str:
        text = Container._checked(self, key, value)
        if key == "folder" and not text.startswith("/"):
            raise ValueError("folder= for nspawn must be an absolute path; it is %r" % value)
        return text


class Nsenter(Container):
    """Run Python in all the namespaces of another process, and beneath its root, as root.

    pid: of that process. It reaches what no other program enters: containers of any runtime, sandboxes, services.
    """

    scheme = "nsenter"
    place = "pid"
    default_path = "nsenter"
    before = ("env", "-i", PATH)
    words = (("--target=", "pid"), "--all", "--root", "--wd", "--")
    known_failures = (
        ("no such process", "There is no such process any more."),
        ("/ns/", "There is no such process any more, or it isn't yours: this takes root, see router.sudo()."),
        ("failed to execute", _NO_PYTHON),
        ("permission denied", _NOT_ROOT),
        ("operation not permitted", _NOT_ROOT),
    )

    def _checked(self, key: str, value: "Any") -> str:
        text = Container._checked(self, key, value)
        if key == "pid" and not text.isdigit():
            raise ValueError("pid= for nsenter must be the number of a process; it is %r" % value)
        return text

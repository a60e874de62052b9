"""The handlers that every resource has, and the routes they answer on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Response

from api.call import Call, endpoint
from api.responses import json_response, no_content
from api.rest import options, writer
from api.rest.fields import TRUE, Field, Rejected
from api.rest.pages import list_page
from api.rest.reader import Reader
from api.rest.resource import Action, Api, Attached, Children, Resource, SubList
from core.errors import Forbidden, Invalid, NotFound

Method = Callable[[Call], Response]


def add_resources(app: FastAPI, api: Api) -> None:
    """Everything below `/api/v2/` that is declared: lists and objects first, since routes are tried in turn."""
    paths = [item for each in api.resources.values() if each.routed for item in resource_paths(each).items()]
    for path, methods in sorted(paths, key=lambda item: item[0].count("/")):
        _add(app, path, methods)


def resource_paths(resource: Resource) -> dict[str, Mapping[str, Method]]:
    """Path -> method -> handler."""
    one = f"{resource.url}{{pk}}/"
    paths: dict[str, Mapping[str, Method]] = {}
    if resource.listed:
        paths[resource.url] = ListView(resource).methods()
    paths[one] = DetailView(resource).methods()
    for sublist in resource.sublists:
        if sublist.target in resource.api.resources:
            paths[f"{one}{sublist.path}/"] = SubListView(resource, sublist).methods()
    for action in resource.actions:
        paths[f"{one}{action.path}/"] = ActionView(resource, action).methods()
    return paths


def _add(app: FastAPI, path: str, methods: Mapping[str, Method]) -> None:
    def handle(call: Call) -> Response:
        method = call.request.method
        return methods["GET" if method == "HEAD" else method](call)

    names = [*methods, *(["HEAD"] if "GET" in methods else [])]
    app.add_api_route(path, endpoint(handle), methods=names, include_in_schema=False, name=path)


def body_response(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def allow(response: Response, methods: Mapping[str, Method]) -> Response:
    response.headers["Allow"] = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
    return response


@dataclass(frozen=True)
class ListView:
    resource: Resource

    def methods(self) -> dict[str, Method]:
        found: dict[str, Method] = {"GET": self.get, "OPTIONS": self.options}
        if self.resource.creatable:
            found["POST"] = self.post
        return found

    def get(self, call: Call) -> Response:
        return body_response(list_page(call, self.resource))

    def post(self, call: Call) -> Response:
        made = writer.create(call, self.resource, call.data())
        return created(call, self.resource, made.id)

    def options(self, call: Call) -> Response:
        bodies: dict[str, list[Field]] = {}
        if writer.may_create(call, self.resource):
            bodies["POST"] = options.written_fields(self.resource)
        name = f"{self.resource.title.title()} List"
        return allow(json_response(options.describe(self.resource, name=name, methods=bodies)), self.methods())


def created(call: Call, resource: Resource, object_id: int) -> Response:
    shown = Reader(resource, call.actor).one(call.session, object_id)
    response = json_response(shown, 201)
    response.headers["Location"] = shown["url"]
    return response


@dataclass(frozen=True)
class DetailView:
    resource: Resource

    def methods(self) -> dict[str, Method]:
        found: dict[str, Method] = {"GET": self.get, "OPTIONS": self.options}
        if self.resource.changeable:
            found |= {"PUT": self.put, "PATCH": self.patch}
        if self.resource.deletable:
            found["DELETE"] = self.delete
        return found

    def get(self, call: Call) -> Response:
        return json_response(Reader(self.resource, call.actor).visible(call.session, call.path["pk"]))

    def put(self, call: Call) -> Response:
        return self._update(call, partial=False)

    def patch(self, call: Call) -> Response:
        return self._update(call, partial=True)

    def _update(self, call: Call, *, partial: bool) -> Response:
        before = writer.load(call, self.resource, call.path["pk"], self.resource.change)
        changed = writer.update(call, self.resource, before, call.data(), partial=partial)
        return json_response(Reader(self.resource, call.actor).one(call.session, changed.id))

    def delete(self, call: Call) -> Response:
        found = writer.load(call, self.resource, call.path["pk"], self.resource.delete)
        return writer.remove(call, self.resource, found) or no_content()

    def options(self, call: Call) -> Response:
        """An object that does not exist answers too: clients ask at id 1 for what any object takes."""
        bodies: dict[str, list[Field]] = {}
        if self.resource.changeable and self._may_change(call):
            bodies["PUT"] = self.resource.writable()
        name = f"{self.resource.title.title()} Detail"
        described = options.describe(self.resource, name=name, methods=bodies, detail=True)
        return allow(json_response(described), self.methods())

    def _may_change(self, call: Call) -> bool:
        try:
            writer.load(call, self.resource, call.path["pk"], self.resource.change)
        except Forbidden:
            return False
        except NotFound:
            return writer.may_create(call, self.resource)
        return True


def parent_id(call: Call, resource: Resource) -> int:
    """The id of the object in the path. Raises NotFound."""
    return Reader(resource, call.actor).visible_id(call.session, call.path["pk"])


@dataclass(frozen=True)
class SubListView:
    resource: Resource
    sublist: SubList

    @property
    def target(self) -> Resource:
        return self.resource.api[self.sublist.target]

    def methods(self) -> dict[str, Method]:
        found: dict[str, Method] = {"GET": self.get, "OPTIONS": self.options}
        match self.sublist:
            case Children(create=True) if self.target.creatable:
                found["POST"] = self.create_child
            case Attached(read_only=False):
                found["POST"] = self.attach
        return found

    def get(self, call: Call) -> Response:
        parent = parent_id(call, self.resource)
        return body_response(list_page(call, self.target, self.sublist, parent))

    def create_child(self, call: Call) -> Response:
        assert isinstance(self.sublist, Children)
        parent = parent_id(call, self.resource)
        data = call.data()
        if "id" in data:
            return self._detach_child(call, parent, data)
        made = writer.create(call, self.target, data, {self.sublist.by: parent})
        return created(call, self.target, made.id)

    def _detach_child(self, call: Call, parent: int, data: Mapping[str, Any]) -> Response:
        """A child lives in its parent only: to detach it is to delete it, to attach it is possible where it is."""
        assert isinstance(self.sublist, Children)
        child = writer.load(call, self.target, str(_id(data["id"])), self.target.delete)
        if getattr(child, f"{self.sublist.by}_id") != parent:
            raise NotFound("Not found.")
        if data.get("disassociate") not in TRUE:
            return no_content()
        if self.sublist.promote:
            writer.delete(call, self.target, child)
            return no_content()
        return writer.remove(call, self.target, child) or no_content()

    def attach(self, call: Call) -> Response:
        assert isinstance(self.sublist, Attached)
        parent = parent_id(call, self.resource)
        writer.require(call, self.resource, parent, self.sublist.may or self.resource.change)
        data = call.data()
        if "id" in data:
            change = writer.detach if data.get("disassociate") in TRUE else writer.attach
            change(call, self.sublist, self.target, parent, _id(data["id"]))
            return no_content()
        if not self.sublist.create:
            raise Invalid(fields={"id": ["This field is required."]})
        holder = call.session.get(self.resource.model, parent)
        initial = {name: getattr(holder, attribute) for name, attribute in self.sublist.initial.items()}
        if self.sublist.reuse:
            data = initial | data
            if (existing := writer.find_same(call, self.target, data)) is not None:
                writer.attach(call, self.sublist, self.target, parent, existing)
                return no_content()
        made = writer.create(call, self.target, data, None if self.sublist.reuse else initial)
        writer.attach(call, self.sublist, self.target, parent, made.id)
        return created(call, self.target, made.id)

    def options(self, call: Call) -> Response:
        bodies: dict[str, list[Field]] = {}
        if "POST" in self.methods() and (isinstance(self.sublist, Attached) or writer.may_create(call, self.target)):
            bodies["POST"] = options.written_fields(self.target, self.sublist)
        name = f"{self.resource.title.title()} {self.sublist.path.replace('_', ' ').title()} List"
        return allow(json_response(options.describe(self.target, name=name, methods=bodies)), self.methods())


def _id(value: Any) -> int:
    """The `id` of an attach or detach. Raises Invalid."""
    try:
        return int(options.attach_field().clean(value))
    except Rejected:
        raise Invalid(fields={"id": ["A valid integer is required."]}) from None


@dataclass(frozen=True)
class ActionView:
    resource: Resource
    action: Action

    def methods(self) -> dict[str, Method]:
        found: dict[str, Method] = dict.fromkeys(self.action.methods, self._run)
        return found | {"OPTIONS": self.options}

    def _run(self, call: Call) -> Response:
        method = "GET" if call.request.method == "HEAD" else call.request.method
        object_id = parent_id(call, self.resource)
        if method != "GET" and self.action.may is not None:
            writer.require(call, self.resource, object_id, self.action.may)
        return self.action.methods[method](call, object_id)

    def options(self, call: Call) -> Response:
        """An object that does not exist answers too: clients ask at id 1 for what the action takes."""
        bodies = {method: self.action.fields for method in self.action.methods if method in ("POST", "PUT")}
        name = f"{self.resource.title.title()} {self.action.path.replace('_', ' ').title()}"
        described = options.describe_action(self.resource, name, self.action.description, bodies)
        return allow(json_response(described), self.methods())

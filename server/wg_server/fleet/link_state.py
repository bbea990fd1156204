"""Flower's link state in memory, with a list of each node's messages.

Flower 1.42.0 looks for a node's next message among those of all nodes, and checks each of them on
the way: while a campaign asks 1,000 nodes, a million looks for one question from each.
"""

from collections import defaultdict

from flwr.app import Message
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState
from flwr.supercore.date import now
from flwr.supercore.object_store import ObjectStore
from flwr.superlink.federation import FederationManager


class NodeMessages(InMemoryLinkState):
    """As Flower's, but that a node's messages are found without looking at others'."""

    def __init__(self, federation: FederationManager, objects: ObjectStore) -> None:
        super().__init__(federation, objects)
        self._waiting: defaultdict[int, dict[str, None]] = defaultdict(dict)

    def store_message_ins(self, message: Message) -> str | None:
        """Store a message, and remember for which node it waits."""
        with self.lock:
            stored: str | None = super().store_message_ins(message)
            if stored is not None:
                self._waiting[message.metadata.dst_node_id][stored] = None
            return stored

    def get_message_ins(
        self, node_id: int, limit: int | None, *, run_id: int | None = None
    ) -> list[Message]:
        """A node's messages that were not delivered yet, oldest first; they are from now on."""
        messages: list[Message] = []
        with self.lock:
            for message_id in list(self._waiting.get(node_id, ())):
                self._check_stored_messages({message_id})
                message = self.message_ins_store.get(message_id)
                if message is None or message.metadata.delivered_at:
                    self._drop(node_id, message_id)
                elif run_id is None or message.metadata.run_id == run_id:
                    self._drop(node_id, message_id)
                    message.metadata.delivered_at = now().isoformat()
                    messages.append(message)
                if limit is not None and len(messages) >= limit:
                    break
        return messages

    def delete_messages(self, message_ins_ids: set[str]) -> None:
        """Forget messages, and that somebody waits for them."""
        with self.lock:
            for message_id in message_ins_ids:
                message = self.message_ins_store.get(message_id)
                if message is not None:
                    self._drop(message.metadata.dst_node_id, message_id)
            super().delete_messages(message_ins_ids)

    def _drop(self, node_id: int, message_id: str) -> None:
        waiting = self._waiting.get(node_id)
        if waiting is not None:
            waiting.pop(message_id, None)
            if not waiting:
                del self._waiting[node_id]

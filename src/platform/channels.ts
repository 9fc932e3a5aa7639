/** A connection that hears channels; it comes back by itself when it is lost. */
export type Receiver = {
  subscribe(...channels: string[]): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
}

export type Listener = {
  heard(word: string): void
  /** The connection was lost and stands again: words may have been said that nobody heard. */
  missed?(): void
}

export type Subscription = {
  /** Resolves when the server sends on what is said from now; while it is away, when it is back. */
  standing: Promise<void>
  /** Hears no more; the last to leave a channel ends it at the server. */
  end(): void
}

export type Channels = {
  listen(channel: string, listener: Listener): Subscription
  /** What the connection received. */
  say(channel: string, word: string): void
  /** The connection stands anew, and has forgotten its channels. */
  stand(): void
}

type Channel = { listeners: Set<Listener>; standing: Promise<void> }

/** Shares one connection among the listeners of many channels. */
export const createChannels = (receiver: () => Receiver): Channels => {
  const channels = new Map<string, Channel>()

  const subscribe = (...names: string[]): Promise<void> => {
    const standing = receiver()
      .subscribe(...names)
      .then(() => undefined)
    // Whoever waits is told; a connection that is closed for good is nothing to the others.
    standing.catch(() => undefined)
    return standing
  }

  return {
    listen: (name, listener) => {
      const channel = channels.get(name) ?? { listeners: new Set(), standing: subscribe(name) }
      channels.set(name, channel)
      channel.listeners.add(listener)
      return {
        standing: channel.standing,
        end: () => {
          if (!channel.listeners.delete(listener) || channel.listeners.size > 0) return
          channels.delete(name)
          receiver()
            .unsubscribe(name)
            .catch(() => undefined)
        },
      }
    },
    say: (name, word) => {
      for (const listener of channels.get(name)?.listeners ?? []) listener.heard(word)
    },
    stand: () => {
      if (channels.size === 0) return
      const standing = subscribe(...channels.keys())
      for (const channel of channels.values()) channel.standing = standing
      const concerned = [...channels.values()].flatMap(({ listeners }) => [...listeners])
      standing.then(
        () => concerned.forEach((listener) => listener.missed?.()),
        () => undefined,
      )
    },
  }
}

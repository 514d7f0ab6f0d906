# What a program does with Ruby's `stomp`, feature by feature, against the broker at STOMP_TCP in STOMP_VERSION.
#
# Speaks to whoever started it: a line `ok`, `failed` or `-` (not in this version, or not in this library) for each feature
# on stdout; `@restart` asks for a restart of the broker, and a line on stdin tells that it is there again.

require_relative 'kit'

LARGE = '0123456789abcdef' * 65_536
LATER = VERSION != '1.0'

def connect
  client = Client.new
  Kit.equal(client.connection.connection_frame.headers['version'] || '1.0', VERSION)
end

def send_and_subscribe
  destination = Kit.fresh('/topic')
  publisher = Client.new
  boxes = [Client.new, Client.new].map { |reader| reader.subscribe(destination).first }
  100.times { |number| publisher.connection.publish(destination, number.to_s, { 'number' => number.to_s }) }
  boxes.each do |box|
    100.times do |number|
      message = box.next
      Kit.equal([message.body, message.headers['number']], [number.to_s, number.to_s])
      Kit.equal(message.headers['destination'], destination)
    end
  end
end

def unsubscribe
  destination = Kit.fresh('/topic')
  client = Client.new
  (ended, id), (live,) = client.subscribe(destination), client.subscribe(destination)
  client.unsubscribe(destination, id)
  client.send(destination, 'one')
  Kit.equal(live.next.body, 'one')
  Kit.assert(ended.empty?, ended)
end

def patterns
  base = Kit.fresh('/topic')
  client = Client.new
  star, deep = ["#{base}/*/price", "#{base}/**"].map { |pattern| client.subscribe(pattern).first }
  client.send("#{base}/tea/price", '3')
  client.send("#{base}/tea/stock/north", '9')
  Kit.equal(star.next.headers['destination'], "#{base}/tea/price")
  Kit.equal([deep.next.body, deep.next.body], %w[3 9])
  Kit.assert(star.empty?, star)
end

def receipts
  Client.new.send(Kit.fresh('/topic'), 'nobody hears it')
end

# The library counts what it sends. Of what comes it only keeps when it last did.
def heart_beats
  client = Client.new(heart_beat: '300,300')
  heard = []
  Timeout.timeout(PATIENCE, nil, 'heart-beats') do
    until heard.uniq.size > 3 && client.connection.hbsend_count > 3
      heard << client.connection.instance_variable_get(:@lr)
      sleep 0.05
    end
  end
  client.send(Kit.fresh('/topic'), 'still here')
end

# A queue with three messages, all of them given to one reader that has settled none.
def three(ack)
  destination = Kit.fresh('/queue')
  client, reader = Client.new, Client.new
  %w[one two three].each { |body| client.send(destination, body) }
  box, = reader.subscribe(destination, 'ack' => ack)
  [client, reader, destination, Array.new(3) { box.next }]
end

def left(client, destination, bodies)
  box, = client.subscribe(destination)
  messages = Array.new(bodies.size) { box.next }
  Kit.equal(messages.map(&:body), bodies)
  Kit.equal(messages.map { |message| message.headers['redelivered'] }.uniq, ['true'])
end

def ack_individual
  client, reader, destination, messages = three('client-individual')
  reader.settle(:ack, messages[1])
  reader.disconnect
  left(client, destination, %w[one three])
end

def ack_cumulative
  client, reader, destination, messages = three('client')
  reader.settle(:ack, messages[1])
  reader.disconnect
  left(client, destination, %w[three])
end

def ack_lost
  client, reader, destination, = three('client-individual')
  reader.drop
  left(client, destination, %w[one two three])
end

def ack_in_a_transaction
  client, reader, destination, messages = three('client-individual')
  reader.connection.begin('given up')
  reader.settle(:ack, messages[0], 'transaction' => 'given up')
  reader.connection.abort('given up')
  reader.connection.begin('kept')
  reader.settle(:ack, messages[1], 'transaction' => 'kept')
  reader.receipt { |asked| reader.connection.commit('kept', asked) }
  reader.disconnect
  left(client, destination, %w[one three])
end

def nack
  destination = Kit.fresh('/queue')
  client = Client.new
  box, = client.subscribe(destination, 'ack' => 'client-individual')
  client.send(destination, 'one')
  client.settle(:nack, box.next)
  again = box.next
  Kit.equal([again.body, again.headers['redelivered']], %w[one true])
  client.settle(:ack, again)
end

def transactions
  destination = Kit.fresh('/queue')
  client = Client.new
  box, = client.subscribe(destination)
  client.connection.begin('given up')
  client.connection.publish(destination, 'given up', 'transaction' => 'given up')
  client.connection.abort('given up')
  client.connection.begin('kept')
  %w[one two].each { |body| client.connection.publish(destination, body, 'transaction' => 'kept') }
  client.send(destination, 'outside')
  client.connection.commit('kept')
  Kit.equal(Array.new(3) { box.next.body }, %w[outside one two])
end

def bounce(body, headers = {})
  destination = Kit.fresh('/topic')
  client = Client.new
  box, = client.subscribe(destination)
  client.send(destination, body, headers)
  message = box.next
  Kit.equal(message.body.b, body.b)
  message
end

def binary_body
  bounce((0..255).to_a.pack('C*') * 4, 'content-type' => 'application/octet-stream')
end

def unicode
  destination = "#{Kit.fresh('/topic')}-żółw"
  client = Client.new
  box, = client.subscribe(destination)
  client.send(destination, 'Grüße, 世界 👢', 'note' => 'sălut 👢')
  message = box.next
  headers = %w[note destination].map { |name| message.headers[name].dup.force_encoding('UTF-8') }
  Kit.equal([message.body.dup.force_encoding('UTF-8'), *headers], ['Grüße, 世界 👢', 'sălut 👢', destination])
end

# The library escapes as STOMP 1.1 does, whatever the version.
def header_escapes
  note = "colon : backslash \\ line\nend"
  Kit.equal(bounce('', 'note' => note).headers['note'], note)
end

def error_and_close
  client = Client.new
  begin
    client.connection.publish('/nowhere/at-all', 'lost', 'receipt' => 'why')
  rescue IOError
    # The answer may be so quick that the reader has closed the connection before the library is done with writing.
  end
  error = client.errors.next
  Kit.equal([error.headers['code'], error.headers['receipt-id']], %w[unknown-destination why])
  Kit.assert(!error.headers['message'].empty? && !error.body.empty?, error)
  client.ends.next
end

def on_error_continue
  client = Client.new(headers: { 'on-error' => 'continue' })
  client.connection.subscribe('/nowhere/at-all', { 'id' => 'nowhere' }, 'nowhere')
  Kit.equal(client.errors.next.headers['code'], 'unknown-destination')
  client.send(Kit.fresh('/topic'), 'still here')
end

def disconnect
  Kit.equal(Client.new.disconnect.headers['receipt-id'], 'bye')
end

# In the library's own way: it connects anew and subscribes again by itself, without a word to the program.
def reconnect
  destination = Kit.fresh('/topic')
  reader = Client.new(reliable: true)
  box, = reader.subscribe(destination)
  Kit.restart_broker
  client = Client.new
  deadline = Time.now + PATIENCE
  client.send(destination, 'after the restart') while box.empty? && Time.now < deadline
  Kit.equal(box.next.body, 'after the restart')
end

Kit.report(
  'connect' => -> { connect },
  'send, subscribe' => -> { send_and_subscribe },
  'unsubscribe' => -> { unsubscribe },
  'patterns' => -> { patterns },
  'receipts' => -> { receipts },
  'heart-beats' => (-> { heart_beats } if LATER),
  'ack individual' => -> { ack_individual },
  'ack cumulative' => -> { ack_cumulative },
  'ack lost' => -> { ack_lost },
  'ack in a transaction' => -> { ack_in_a_transaction },
  'nack' => (-> { nack } if LATER),
  'commit, abort' => -> { transactions },
  'large message' => -> { bounce(LARGE) },
  'split frames' => nil,
  'binary body' => -> { binary_body },
  'unicode' => -> { unicode },
  'header escapes' => (-> { header_escapes } if LATER),
  'error, close' => -> { error_and_close },
  'on-error:continue' => -> { on_error_continue },
  'disconnect' => -> { disconnect },
  'reconnect' => -> { reconnect }
)
